#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs the client library alone, and builds apps against it as strangers do: by find_package, and by pkg-config.
#   tests/packaging/client_test.sh [BUILD DIRECTORY]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${1:-build/release}")
source=$PWD

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "client_test: FAILED: $*" >&2; exit 1; }
prefix=$work/prefix

cmake --install "$build" --component client --prefix "$prefix" >/dev/null
# What is ours stays at home: flags, sanitizers, directories. The compiler writes paths into the archive's debug information.
if grep -rnE --include='*.cmake' --include='*.pc' --include='*.h' -e "-W[a-z]|fsanitize|connd_flags|\<CONND_|$source" "$prefix"; then
  fail "that is no business of apps"
fi
cp -r tools/examples "$work/app"
# An app may have directories of these names, with such files, and look there first.
mkdir "$work/app/ipc" "$work/app/proto"
echo '#error "the header of the app"' | tee "$work/app/ipc/error.h" "$work/app/ipc/client.h" >"$work/app/proto/reason.h"
cd "$work/app"

cmake -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_FLAGS="-I$work/app -Wall -Wextra -Wpedantic -Werror" >/dev/null
cmake --build "$work/cmake" >/dev/null

export PKG_CONFIG_PATH=$(find "$prefix" -name pkgconfig)
version=$(sed -n 's/^project(jami-connd VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")
[[ $(pkg-config --modversion jami-connd-client) == "$version" ]] || fail "pkg-config's version is not $version"
# shellcheck disable=SC2046  # they are words
g++ -std=c++20 -I. two_files.cpp $(pkg-config --cflags --libs jami-connd-client) -o "$work/by_pkg_config"

# Each header stands alone.
(cd "$prefix/include" && find jami-connd -name '*.h' -printf '#include <%p>\n') >"$work/includes"
(($(wc -l <"$work/includes") > 10)) || fail "few headers"
while read -r line; do
  g++ -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" -x c++ - <<<"$line" || fail "$line"
done <"$work/includes"
code=0; error=$(g++ -std=c++17 -fsyntax-only -I"$prefix/include" -x c++ - <<<'#include <jami-connd/ipc/client.h>' 2>&1) || code=$?
((code != 0)) && grep -q 'needs C++20' <<<"$error" || fail "C++17 gets no clear word"

for app in "$work/cmake/two_files" "$work/by_pkg_config"; do
  code=0; error=$(JAMI_CONND_SOCKET=/nonexistent "$app" receive . 2>&1) || code=$?
  ((code == 3)) && grep -q 'does not run here' <<<"$error" || fail "$app: exit code $code: $error"
done
echo "client_test: passed"
