#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what is missing, builds, and measures two daemons on this machine against a bare relay; some three minutes.
#   tools/bench.sh [--quick] [--json] [--plot FILE.svg] …   arguments of jami-connd-bench; see its --help
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

"$root/tools/setup.sh"
(
  cd "$root"
  cmake --preset release >/dev/null
  cmake --build build/release -j "$(nproc)" --target jami-connd jami-connd-bench
) >&2
exec "$root/build/release/tools/bench/jami-connd-bench" "$@"
