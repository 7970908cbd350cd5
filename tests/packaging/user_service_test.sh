#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the user's units under a real `systemd --user`, in a /run of their own: start, reload, a wrong file, stop, and start
# by the socket's first client.
#   tests/packaging/user_service_test.sh [BUILD DIRECTORY]
# Needs root (for the mount namespace) and systemd. Exit code 77: it cannot be done here.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${1:-build/release}")

skip() { echo "user_service_test: skipped: $*"; exit 77; }
((EUID == 0)) || skip "needs root"
[[ -x /lib/systemd/systemd ]] || skip "needs systemd"
unshare --mount true 2>/dev/null || skip "needs mount namespaces"
[[ ${USER_SERVICE_TEST_INSIDE:-} ]] || USER_SERVICE_TEST_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"

work=$(mktemp -d)
manager=
finish() {
  if [[ $manager ]]; then
    kill "$manager" 2>/dev/null || true
    wait "$manager" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT
fail() { echo "user_service_test: FAILED: $*" >&2; tail -20 "$work/manager.log" >&2; exit 1; }

# systemd --user wants to see that systemd runs, and a cgroup; a /run of our own makes it so.
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user-0 "$work/home/.config/systemd/user" "$work/home/.config/jami-connd"
chmod 700 /run/user-0
export XDG_RUNTIME_DIR=/run/user-0 HOME=$work/home XDG_CONFIG_HOME=$work/home/.config
unset XDG_STATE_HOME JAMI_CONND_SOCKET NOTIFY_SOCKET
conf=$XDG_CONFIG_HOME/jami-connd/jami-connd.conf
config() { printf '%s\n' 'bootstrap = none' 'no-lan-discovery = true' "$@" >"$conf"; }
config 'idle-timeout = 100'
sed "s|^ExecStart=\S*|ExecStart=$build/daemon/jami-connd|" "$build/systemd/user/jami-connd.service" \
  >"$XDG_CONFIG_HOME/systemd/user/jami-connd.service"
cp systemd/user/jami-connd.socket "$XDG_CONFIG_HOME/systemd/user/"
ctl() { "$build/tools/jami-connctl" "$@"; }
manage() { timeout 60 systemctl --user --no-pager "$@"; }
shows() { [[ $(manage show --property "$1" --value jami-connd.service) == "$2" ]] || fail "$1 is not $2"; }
status_has() { ctl call daemon.status | grep -qF -- "$1" || fail "status has no $1: $(ctl call daemon.status)"; }

/lib/systemd/systemd --user --log-target=console >"$work/manager.log" 2>&1 &
manager=$!
until [[ -S $XDG_RUNTIME_DIR/systemd/private ]]; do
  kill -0 "$manager" 2>/dev/null || { cat "$work/manager.log"; skip "systemd --user does not run here"; }
  read -rt 0.05 <> <(:) || true
done

manage start jami-connd.service || fail "start"
ctl id --wait 180 >/dev/null || fail "no identity"
status_has '"idle_timeout_s":100'
[[ $(stat -c %a "$XDG_RUNTIME_DIR/jami-connd/control.sock") == 600 ]] || fail "the socket's mode"
[[ -d $HOME/.local/state/jami-connd ]] || fail "the state is elsewhere"

config 'idle-timeout = 50'
manage reload jami-connd.service || fail "reload"
until ctl call daemon.status | grep -q '"idle_timeout_s":50'; do shows ActiveState active; done
config 'idle-timeout = 40' 'nonsense'
manage reload jami-connd.service || fail "reload with a wrong file"
until ctl call daemon.status | grep -qF "$conf:4: not 'key = value'"; do shows ActiveState active; done
status_has '"idle_timeout_s":50'

manage stop jami-connd.service || fail "stop"
shows Result success
shows ExecMainStatus 0
manage start jami-connd.service 2>/dev/null && fail "it starts with a wrong file"
shows ExecMainStatus 2
shows NRestarts 0

config
manage reset-failed
manage start jami-connd.socket || fail "the socket does not start"
shows ActiveState inactive
ctl status >/dev/null || fail "the first client does not start it"
shows ActiveState active
manage stop jami-connd.service jami-connd.socket 2>/dev/null
[[ ! -e $XDG_RUNTIME_DIR/jami-connd/control.sock ]] || fail "the socket stays"
echo "user_service_test: passed"
