#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Builds the Debian packages of what is committed, from a clean copy.
#   packaging/build-deb.sh [DIRECTORY]   where they go (build/deb)
# DEBFULLNAME and DEBEMAIL, if set, are the maintainer, who otherwise has no address.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-build/deb}
mkdir -p "$out"
out=$(realpath "$out")

tools/setup.sh dpkg-dev debhelper fakeroot
# Always the same place, and our cache though debhelper has another HOME, so that ccache knows the files again.
CCACHE_DIR=$(ccache --get-config cache_dir)
export CCACHE_DIR
tree=$out/tree
rm -rf "$tree"
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/jami-connd"
git archive HEAD | tar -x -C "$tree/jami-connd"
cd "$tree/jami-connd"
# The top level has no debian/: packaging/ has all that is for distributions.
cp -r packaging/debian debian
cp packaging/changelog debian/changelog
if [[ ${DEBFULLNAME:-} && ${DEBEMAIL:-} ]]; then
  sed -i "s/^Maintainer: .*/Maintainer: $DEBFULLNAME <$DEBEMAIL>/" debian/control
  sed -i "0,/^ -- .*>/s// -- $DEBFULLNAME <$DEBEMAIL>/" debian/changelog
fi
DEB_BUILD_OPTIONS="parallel=$(nproc) ${DEB_BUILD_OPTIONS:-}" dpkg-buildpackage --build=source,any,all --no-sign --no-pre-clean
cp ../*.deb ../*.dsc ../*.tar.* ../*.changes ../*.buildinfo "$out/"
ls -l "$out"
