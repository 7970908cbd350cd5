#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what is needed to build, run and test, from Debian 12's packages. Quick when all is there; needs root or
# sudo only when something is missing.
#   tools/setup.sh [PACKAGE…]   further packages
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config git patch ca-certificates
  libopendht-dev libnice-dev libssl-dev libmsgpack-cxx-dev libuv1-dev libspdlog-dev nlohmann-json3-dev libcli11-dev
  libsystemd-dev catch2
  jami-daemon dbus libglib2.0-bin
  dhtnode iproute2 nftables python3 python3-jsonschema python3-pytest socat procps openssl util-linux mount
  systemd groff-base mandoc zsh fish
  "$@"
)

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $state == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "setup: these packages are missing: ${missing[*]}. Run this as root, or install sudo." >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}" >&2
# A mirror may be busy for a moment.
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3)
"${apt[@]}" update >&2
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2
