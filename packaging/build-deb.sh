#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Builds the Debian packages of what is committed, from a clean copy.
#   packaging/build-deb.sh [DIRECTORY]                 where they go (build/deb)
#       compiles all once more, whatever is built: the packages' flags are Debian's (dpkg-buildflags), with -g for the -dbgsym
#       packages where the presets have -g1, so no object is the same. From the second time on ccache knows them, if DIRECTORY
#       is the same and little has changed.
#   packaging/build-deb.sh --built BUILD [DIRECTORY]   of the working tree, with the programs that BUILD (build/release) has:
#       seconds instead of minutes, for tests and for trying them out; without Debian's hardening flags, and no source package
# DEBFULLNAME and DEBEMAIL, if set, are the maintainer, who otherwise has no address.
set -euo pipefail
cd "$(dirname "$0")/.."
built=
if [[ ${1:-} == --built ]]; then
  built=$(realpath "${2:?--built needs a build directory}")
  shift 2
  [[ -x $built/daemon/jami-connd && -f $built/packaging/jami-connd.8 ]] || { echo "build-deb: $built has no programs: cmake --build $built" >&2; exit 1; }
fi
out=${1:-build/deb}
mkdir -p "$out"
out=$(realpath "$out")

tools/setup.sh build dpkg-dev debhelper fakeroot
# Always the same place, and our cache though debhelper has another HOME, so that ccache knows the files again.
if command -v ccache >/dev/null; then
  CCACHE_DIR=$(ccache --get-config cache_dir)
  export CCACHE_DIR
fi
tree=$out/tree
rm -rf "$tree"
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/jami-connd"
if [[ $built ]]; then
  git ls-files -z --cached --others --exclude-standard --deduplicate | tar -c --null -T - --ignore-failed-read 2>/dev/null | tar -x -C "$tree/jami-connd"
else
  git archive HEAD | tar -x -C "$tree/jami-connd"
fi
cd "$tree/jami-connd"
# The top level has no debian/: packaging/ has all that is for distributions.
cp -r packaging/debian debian
cp packaging/changelog debian/changelog
if [[ ${DEBFULLNAME:-} && ${DEBEMAIL:-} ]]; then
  sed -i "s/^Maintainer: .*/Maintainer: $DEBFULLNAME <$DEBEMAIL>/" debian/control
  sed -i "0,/^ -- .*>/s// -- $DEBFULLNAME <$DEBEMAIL>/" debian/changelog
fi
options="parallel=$(nproc) ${DEB_BUILD_OPTIONS:-}"
if [[ $built ]]; then
  CONND_BUILT=$built DEB_BUILD_OPTIONS="noautodbgsym $options" dpkg-buildpackage --build=binary --no-sign --no-pre-clean --no-check-builddeps
  cp ../*.deb ../*.changes ../*.buildinfo "$out/"
else
  DEB_BUILD_OPTIONS=$options dpkg-buildpackage --build=source,any,all --no-sign --no-pre-clean
  cp ../*.deb ../*.dsc ../*.tar.* ../*.changes ../*.buildinfo "$out/"
fi
ls -l "$out"
