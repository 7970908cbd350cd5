#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the e2e tests as an unprivileged user with 1,024 files, on loopback:
#   tests/e2e/as_user.sh BUILD_DIR [PYTEST ARGUMENTS…]
# As root it uses "nobody", with copies of what is needed, for that user may not see this directory.
set -euo pipefail
build=$(realpath "$1")
shift
here=$(realpath "$(dirname "$0")")

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
cp -r "$here" "$work/e2e"
rm -rf "$work/e2e/__pycache__"
cp "$build/daemon/jami-connd" "$build/tools/jami-connctl" "$build/tools/bench/jami-connd-bench" \
  "$build/tests/make_identity" \
  "$here/../../ipc/schema.json" "$build/tests/peer/"{hostile_peer,load_peers,junk_peers,bad_identity,plant_chain,libclock_shift.so,libloop_guard.so} "$work/"
cp -r "$here/../../tools/examples" "$work/examples"
cp -r "$here/../compat" "$work/compat"
chmod -R a+rX "$work/compat"
cp "$here/../../ipc/PROTOCOL.md" "$build/tools/examples/two_files" "$work/"
mkdir "$work/home" "$work/tmp"

# run NAME FILES…: pytest over some files; its output is $work/out.NAME.
as_user=()
own_loopback=()
run() {
  local name=$1
  shift
  local tmp=$work/tmp/$name
  mkdir -p "$tmp"
  ((EUID)) || chown nobody:nogroup "$tmp"
  (
    cd "$tmp"
    ulimit -n 1024
    # pytest's 5: none of these were wanted.
    "${own_loopback[@]}" "${as_user[@]}" env HOME="$work/home" TMPDIR="$tmp" /usr/bin/python3 -m pytest \
      -p no:cacheprovider -q -rfEs "${arguments[@]}" "$@" || (($? == 5))
  ) >"$work/out.$name" 2>&1
}

arguments=("$@")
jobs=1
if ((EUID == 0)); then
  chmod 755 "$work"
  chown -R nobody:nogroup "$work/home" "$work/tmp"
  as_user=(setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all)
  # Each run has a loopback of its own, so that two may go on at once.
  own_loopback=(unshare --net sh -c 'ip link set lo up && exec "$@"' sh)
  jobs=$(($(nproc) + 1))  # most wait
fi
export PYTHONDONTWRITEBYTECODE=1 CONND_E2E_MODE=loopback \
  CONND_DAEMON="$work/jami-connd" CONND_CTL="$work/jami-connctl" CONND_BENCH="$work/jami-connd-bench" \
  CONND_MAKE_IDENTITY="$work/make_identity" CONND_HOSTILE_PEER="$work/hostile_peer" CONND_LOAD_PEERS="$work/load_peers" \
  CONND_JUNK_PEERS="$work/junk_peers" CONND_BAD_IDENTITY="$work/bad_identity" CONND_PLANT_CHAIN="$work/plant_chain" \
  CONND_SCHEMA="$work/schema.json" CONND_CLOCK_SHIFT="$work/libclock_shift.so" CONND_LOOP_GUARD="$work/libloop_guard.so" \
  CONND_COMPAT="$work/compat" CONND_E2E_CACHE="$work/home/identities" \
  CONND_EXAMPLES="$work/examples" CONND_TWO_FILES="$work/two_files" CONND_PROTOCOL="$work/PROTOCOL.md"

mapfile -t alone < <(sed -n 's|^[a-z].*|'"$work"'/e2e/test_&.py|p' "$work/e2e/alone.txt")
shared=()
for file in "$work"/e2e/test_*.py; do
  [[ " ${alone[*]} " == *" $file "* ]] || shared+=("$file")
done

# The files go to whoever is free, the ones that measure at the end and by themselves.
code=0
number=0
for file in "${shared[@]}"; do
  ((number < jobs)) || wait -n || code=1
  ((++number))
  run "$number" "$file" &
done
for ((i = 0; i < jobs && i < number; i++)); do wait -n || code=1; done
run alone "${alone[@]}" || code=1

cat "$work"/out.*
tail -qn 1 "$work"/out.* | awk '
  { for (i = 2; i <= NF; i++) if ($i ~ /^(passed|failed|errors?|skipped)/) sum[substr($i, 1, 5)] += $(i - 1) }
  END {
    split("passed failed error skipped", names)
    for (i = 1; i <= 4; i++) {
      n = sum[substr(names[i], 1, 5)]
      if (n) line = line (line ? ", " : "") n " " names[i]
    }
    print line
  }'
exit $code
