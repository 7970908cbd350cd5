#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Builds an earlier jami-connd and jami-connctl of this repository, for the tests against yesterday's programs.
#   tests/compat/build_old.sh [COMMIT [DIRECTORY]]
# COMMIT is a tag or commit: the landed version that tests/compat/landed names, if none is given. What it prints last is
# the path for CONND_OLD: the daemon, with its client beside it. Minutes the first time; nothing when it is there already.
set -euo pipefail
cd "$(dirname "$0")/../.."
commit=$(git rev-parse --verify --quiet "${1:-$(cat tests/compat/landed)}^{commit}") ||
  { echo "build_old: no such commit: ${1:-$(cat tests/compat/landed)} (a shallow clone has not got it)" >&2; exit 1; }
directory=$(realpath -m "${2:-${XDG_CACHE_HOME:-$HOME/.cache}/jami-connd/old-${commit:0:12}}")
if [[ ! -x $directory/jami-connd || ! -x $directory/jami-connctl ]]; then
  mkdir -p "$directory"
  tree=$directory/tree
  trap 'rm -rf "$tree"' EXIT
  rm -rf "$tree"
  mkdir "$tree"
  git archive "$commit" | tar -x -C "$tree"
  # The flags of that time; together it compiles in a third of the time, if it could be compiled so by then.
  {
    cmake -S "$tree" -B "$tree/build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O2 -g1 -DNDEBUG" -DCONND_TESTS=OFF
    cmake --build "$tree/build" -j "${CONND_JOBS:-$(nproc)}" --target jami-connd jami-connctl
  } >&2
  # The daemon last: it is there when all is.
  cp "$tree/build/tools/jami-connctl" "$directory/jami-connctl"
  cp "$tree/build/daemon/jami-connd" "$directory/jami-connd"
fi
echo "$directory/jami-connd"
