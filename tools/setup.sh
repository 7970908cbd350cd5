#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what is needed, from Debian 12's packages. Quick when all is there; needs root or sudo only when something is
# missing.
#   tools/setup.sh [demo|build|fuzz|test|none] [PACKAGE…]   a set (test has demo and build), and further packages
#   tools/setup.sh --list SET                               says which
# It starts no service, and none of those that come with the packages will start by itself: while apt runs,
# /usr/sbin/policy-rc.d says no (unless there is one), and the units in `services` are masked before. A service that was
# installed already stays as it is. To use dhtnode's later: systemctl unmask dhtnode
set -euo pipefail

# What compiles and runs the two programs.
demo=(
  g++ cmake ninja-build ccache pkg-config
  libopendht-dev libssl-dev libmsgpack-cxx-dev libuv1-dev libspdlog-dev nlohmann-json3-dev libcli11-dev libsystemd-dev catch2
  libnice10 libglib2.0-dev python3
)
# Everything, packages included.
build=(git patch ca-certificates libnice-dev)
# What the fuzzers are made with; libclang-rt has libFuzzer and the sanitizers.
fuzz=(clang libclang-rt-14-dev)
# What the tests run besides.
test=(
  jami-daemon dbus libglib2.0-bin
  dhtnode iproute2 nftables python3-jsonschema python3-pytest socat procps openssl util-linux mount
  systemd systemd-container debootstrap dpkg-dev debhelper fakeroot strace groff-base mandoc zsh fish
)
# PACKAGE:UNIT: what Debian would start, and have start with the machine.
services=(dhtnode:dhtnode.service)

# Debian's libnice-dev wants the headers of GUPnP, and these, by way of Sysprof's, GTK 4 and LLVM: 100 MB of packages. Its
# own headers, which need GLib's alone, are unpacked instead; CMakeLists.txt looks for them there.
readonly headers=build/deps
unpack_headers() {
  [[ ! -e $headers/usr/include/nice/agent.h ]] || return 0
  [[ $(state_of libnice-dev) != installed ]] || return 0
  local work
  work=$(mktemp -d)
  chmod 755 "$work"
  (cd "$work" && apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root download libnice-dev >&2)
  mkdir -p "$headers"
  dpkg-deb -x "$work"/libnice-dev_*.deb "$headers"
  rm -r "$work"
}

list_of() {
  case $1 in
    demo) printf '%s\n' "${demo[@]}" ;;
    build) printf '%s\n' "${demo[@]}" "${build[@]}" ;;
    fuzz) printf '%s\n' "${demo[@]}" "${build[@]}" "${fuzz[@]}" ;;
    test) printf '%s\n' "${demo[@]}" "${build[@]}" "${test[@]}" ;;
    none) ;;
    *) return 1 ;;
  esac
}
state_of() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true; }

if [[ ${1:-} == --list ]]; then
  list_of "${2:-test}"
  exit
fi
set=test
if (($#)) && list_of "$1" >/dev/null; then
  set=$1
  shift
fi
mapfile -t packages < <(list_of "$set")
packages+=("$@")

missing=()
for package in "${packages[@]}"; do
  [[ $(state_of "$package") == installed ]] || missing+=("$package")
done

as_root=()
if ((${#missing[@]})); then
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "setup: these packages are missing: ${missing[*]}. Run this as root, or install sudo." >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  echo "setup: installing ${missing[*]}" >&2
  for service in "${services[@]}"; do
    unit=/etc/systemd/system/${service#*:}
    if [[ " ${missing[*]} " == *" ${service%:*} "* && ! -e $unit && ! -L $unit ]]; then
      "${as_root[@]}" mkdir -p "${unit%/*}"
      "${as_root[@]}" ln -s /dev/null "$unit"
    fi
  done
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy && ! -L $policy ]]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
  fi
  # A mirror may be busy for a moment.
  apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3)
  "${apt[@]}" update >&2
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2
fi
[[ $set != demo ]] || { cd "$(dirname "$0")/.." && unpack_headers; }
