#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs the Debian packages in a fresh root, starts the daemon there as its service does, and removes and purges them.
#   tests/packaging/install_test.sh [DIRECTORY]   with packages; without it, they are built
# Needs root, debootstrap and Debian's mirror, which it takes from this machine's apt. Takes some minutes. Exit code 77:
# it cannot be done here.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() { echo "install_test: skipped: $*"; exit 77; }
((EUID == 0)) || skip "needs root"
command -v debootstrap >/dev/null || skip "needs debootstrap"
unshare --mount true 2>/dev/null || skip "needs mount namespaces"
# Mounts of the root go with this process.
[[ ${INSTALL_TEST_INSIDE:-} ]] || INSTALL_TEST_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"

work=$(mktemp -d)
root=$work/root
daemon=
finish() {
  [[ $daemon ]] && kill "$daemon" 2>/dev/null || true
  umount "$root/proc" 2>/dev/null || true
  rm -rf --one-file-system "$work"
}
trap finish EXIT
fail() { echo "install_test: FAILED: $*" >&2; exit 1; }
step() { echo "==== $*"; }
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
there() { [[ -e $root$1 || -L $root$1 ]]; }  # links lead inside the root
absent() { for path; do ! there "$path" || fail "$path is still there"; done; }
present() { for path; do there "$path" || fail "$path is not there"; done; }
owned() { [[ $(inside stat -c '%U:%G %a' "$1") == "$2" ]] || fail "$1 is $(inside stat -c '%U:%G %a' "$1"), not $2"; }
# Waits until the daemon logs it, or ends.
logs() { grep -q -m 1 "$1" < <(exec tail -n +1 -f --pid="$daemon" "$work/daemon.log"); }
# What there is of ours, but what apt and dpkg keep of every package and the shared lists of users.
ours() { (cd "$root" && find . -xdev -iname '*jami*' -not -path './var/cache/*' -not -path './var/log/*' -not -path './packages/*' -not -path './proc/*'); }

debs=${1:-}
if [[ ! $debs ]]; then
  debs=$work/debs
  packaging/build-deb.sh "$debs"
fi

if command -v lintian >/dev/null; then
  step "lintian"
  lintian --allow-root --fail-on error,warning "$debs"/*.changes
fi

step "a fresh root"
mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "bookworm" {print $2; exit}')
[[ $mirror ]] || skip "this machine's apt knows no mirror of Debian 12"
debootstrap --variant=minbase bookworm "$root" "$mirror" >"$work/log" 2>&1 || { tail -20 "$work/log"; fail "debootstrap"; }
cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
mount -t proc proc "$root/proc"
mkdir "$root/packages"
cp "$debs"/*.deb "$root/packages/"

step "install"
inside apt-get -q update >"$work/log" 2>&1 || { tail -20 "$work/log"; fail "apt-get update"; }
inside sh -c 'apt-get -q -y --no-install-recommends install /packages/*.deb' >"$work/log" 2>&1 || { tail -40 "$work/log"; fail "install"; }
grep -iE 'warning|error' "$work/log" | grep -v debconf || true
present /usr/bin/jami-connd /usr/bin/jami-connctl /etc/jami-connd/jami-connd.conf /lib/systemd/system/jami-connd.service \
  /lib/systemd/system/jami-connd.socket /usr/lib/systemd/user/jami-connd.service /usr/share/man/man8/jami-connd.8.gz \
  /usr/share/man/man5/jami-connd.conf.5.gz /usr/share/man/man1/jami-connctl.1.gz \
  /usr/include/jami-connd/ipc/client.h /usr/share/doc/libjami-connd-client-dev/examples/two_files.cpp
inside getent passwd jami-connd || fail "no user"
tests/packaging/elf_hardening.py "$root/usr/bin/jami-connd" "$root/usr/bin/jami-connctl" || fail "the packages' programs are not hardened"
inside getent group jami-connd jami-connd-admin || fail "no groups"
owned /run/jami-connd "root:root 755"
absent /etc/systemd/system/multi-user.target.wants/jami-connd.service
inside systemd-analyze --man=no verify jami-connd.service jami-connd.socket
inside systemctl enable jami-connd >/dev/null 2>&1
present /etc/systemd/system/multi-user.target.wants/jami-connd.service

step "start, as the service does"
inside install -d -o jami-connd -g jami-connd -m 0700 /var/lib/jami-connd
cp "$root/etc/jami-connd/jami-connd.conf" "$work/conf"
printf 'bootstrap = none\nno-lan-discovery = true\n' >>"$root/etc/jami-connd/jami-connd.conf"
# The socket is made by root, in root's directory, and given to the daemon with its first client, as the socket unit does.
unshare --net chroot "$root" env -i PATH=/usr/bin:/bin systemd-socket-activate -l /run/jami-connd/control.sock \
  -E STATE_DIRECTORY=/var/lib/jami-connd setpriv --reuid jami-connd --regid jami-connd --init-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  /usr/bin/jami-connd --config /etc/jami-connd/jami-connd.conf 2>"$work/daemon.log" &
daemon=$!
until there /run/jami-connd/control.sock; do kill -0 "$daemon" || { cat "$work/daemon.log"; fail "no socket"; }; done
inside chgrp jami-connd /run/jami-connd/control.sock
inside chmod 660 /run/jami-connd/control.sock
inside jami-connctl id || { cat "$work/daemon.log"; fail "it does not start"; }
logs 'jami-connd version=' || { cat "$work/daemon.log"; fail "it does not start"; }
inside jami-connctl status
owned /run/jami-connd/control.sock "root:jami-connd 660"
owned /var/lib/jami-connd "jami-connd:jami-connd 700"

step "who may what"
inside useradd -G jami-connd member
inside useradd -G jami-connd,jami-connd-admin admin
inside useradd nobodys
as() { inside setpriv --reuid "$1" --regid "$1" --init-groups jami-connctl "${@:2}"; }
as member status >/dev/null
as admin trust list
code=0; as member trust list || code=$?
((code == 6)) || fail "a member lists trust: exit code $code"
code=0; as nobodys status || code=$?
((code != 0)) || fail "everybody may connect"

step "reload and stop"
printf 'idle-timeout = 60\n' >>"$root/etc/jami-connd/jami-connd.conf"
inside jami-connctl call daemon.status | grep -q '"idle_timeout_s":300' || fail "idle-timeout is not 300"
kill -HUP "$daemon"
logs 'reloaded changed=1' || fail "no reload"
inside jami-connctl call daemon.status | grep -q '"idle_timeout_s":60' || fail "idle-timeout is not 60"
kill "$daemon"
wait "$daemon" || fail "it ended with $?"
daemon=
cp "$work/conf" "$root/etc/jami-connd/jami-connd.conf"

step "remove: state and configuration stay"
inside apt-get -q -y remove jami-connd jami-connctl libjami-connd-client-dev >"$work/log" 2>&1 || { tail -40 "$work/log"; fail "remove"; }
absent /usr/bin/jami-connd /usr/bin/jami-connctl /usr/include/jami-connd /lib/systemd/system/jami-connd.service
present /etc/jami-connd/jami-connd.conf /var/lib/jami-connd

step "purge: nothing stays but the user and groups"
inside apt-get -q -y purge '*jami-conn*' >"$work/log" 2>&1 || { tail -40 "$work/log"; fail "purge"; }
rest=$(ours)
[[ ! $rest ]] || fail "this stays: $rest"
inside getent passwd jami-connd >/dev/null || fail "the user has gone"

step "install once more"
inside sh -c 'apt-get -q -y --no-install-recommends install /packages/*.deb' >"$work/log" 2>&1 || { tail -40 "$work/log"; fail "second install"; }
inside jami-connd --version
echo "install_test: passed"
