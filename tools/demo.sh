#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Two daemons that have never met, on a private DHT on this machine: two files over two channels of one connection.
# Installs what is missing, builds (some minutes, once), runs, cleans up. Exits 0 only if everything was right.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly kStartSeconds=60 kKeySeconds=180 kTransferSeconds=60

tools/setup.sh demo
echo "building…"
cmake --preset release >/dev/null
cmake --build build/release -j "$(nproc)" --target connd_installed  # so that what the README says next works
readonly connd=$PWD/build/release/daemon/jami-connd connctl=$PWD/build/release/tools/jami-connctl

work=$(mktemp -d)
pids=()
clean_up() {
  local code=$? pid
  trap - EXIT
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  if ((code != 0)); then
    for log in "$work"/*.log; do printf -- '---- %s\n' "${log##*/}" && tail -n 25 "$log"; done >&2
    echo "the demo failed" >&2
  fi
  rm -rf "$work"
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# until_true SECONDS WHAT COMMAND…: asks until it is so; nothing here tells by itself.
until_true() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < end)) || { echo "no $what in time" >&2; return 1; }
    sleep 0.05
  done
}

free_udp_port() {
  python3 -c 'import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
ctl() { "$connctl" --socket "$work/$1.sock" "${@:2}"; }
answers() { ctl "$1" call hello '{"client":"demo"}' >"$work/$1.hello" 2>/dev/null; }
ready() { answers "$1" && grep -q '"ready": *true' "$work/$1.hello"; }
on_dht() { ctl "$1" call daemon.status 2>/dev/null | grep -qE '"dht": *\{[^}]*"state": *"connected"'; }
device_of() { sed -E 's/.*"device": *"([0-9a-f]{64})".*/\1/' "$work/$1.hello"; }

# start_daemon NAME OPTION…
start_daemon() {
  "$connd" --state-dir "$work/$1" --socket "$work/$1.sock" --no-lan-discovery --log-level debug "${@:2}" 2>"$work/$1.log" &
  pids+=($!)
}

# Each daemon is a node of the DHT, which another one may start from.
dht_port=$(free_udp_port)
echo "a DHT of our own, which begins with alice's node on 127.0.0.1:$dht_port"
start_daemon alice --bootstrap none --dht-port "$dht_port"
start_daemon bob --bootstrap "127.0.0.1:$dht_port"
for name in alice bob; do until_true "$kStartSeconds" "control socket of $name" answers "$name"; done
echo "two daemons are up; each makes its keys now (3 RSA keys of 4096 bits: some seconds)…"
for name in alice bob; do until_true "$kKeySeconds" "identity and network of $name" ready "$name"; done
for name in alice bob; do until_true "$kStartSeconds" "DHT of $name" on_dht "$name"; done
alice=$(device_of alice)
bob=$(device_of bob)
echo "alice is $alice"
echo "bob is   $bob"

ctl bob trust allow "$alice" >/dev/null
mkdir "$work/sent" "$work/received"
head -c 30000000 /dev/urandom >"$work/sent/file1"
head -c 50000000 /dev/urandom >"$work/sent/file2"

ctl bob receive "$work/received" --count 2 2>"$work/receive.log" &
receiver=$!
pids+=("$receiver")
has_listener() { ctl bob call daemon.status | grep -q '"listeners": *1'; }
until_true 10 "listener" has_listener

ctl alice events --json >"$work/events.json" 2>"$work/events.log" &
pids+=($!)
until_true 10 "snapshot of events" test -s "$work/events.json"

echo "alice sends file1 and file2 to bob's device id…"
timeout "$kTransferSeconds" "$connctl" --socket "$work/alice.sock" send "$bob" "$work/sent/file1" "$work/sent/file2"
wait "$receiver"
both_told() { [[ $(grep -c '"type": *"channel.closed"' "$work/events.json") == 2 ]]; }
until_true 10 "event of each end" both_told

python3 - "$work/events.json" <<'PYTHON'
import json
import sys

events = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
connected = [e for e in events if e.get("type") == "connection.connected"]
if len(connected) != 1:
    sys.exit(f"{len(connected)} connections instead of one")
progress = [e for e in events if e.get("type") == "connection.progress"]
opened = sorted((e for e in events if e.get("type") == "channel.opened"), key=lambda e: e["time"])
closed = [e for e in events if e.get("type") == "channel.closed"]
start = min(e["time"] - e["after_ms"] / 1000 for e in progress)
# Of an attempt that failed and was repeated, the last one counts.
at = {e["state"]: e["time"] - start for e in progress}
steps = [
    ("lookup", "resolving", "gathering", "bob's certificate by his device id, on the DHT"),
    ("request", "gathering", "offered", "ICE candidates gathered, request put on the DHT"),
    ("answer", "offered", "checking", "bob's answer came back over the DHT"),
    ("ICE", "checking", "handshaking", "a TCP path found and taken over"),
    ("TLS", "handshaking", "ready", "mutual TLS 1.3; the connection is up"),
]
print("\ntimeline (ms since the first open)")
for name, begin, end, text in steps:
    print(f"  {at[begin] * 1000:7.1f} to {at[end] * 1000:7.1f}  {name:15} {text}")
for name, event in zip(("first channel", "second channel"), opened, strict=True):
    print(f"  {(event['time'] - start) * 1000:18.1f}  {name:15} {event['uri']}")
for event in closed:
    print(f"  {(event['time'] - start) * 1000:18.1f}  {'end':15} {event['uri']}: {event['reason']}, {event['bytes_out']} bytes")
print()
sys.exit(0 if all(e["reason"] == "closed" for e in closed) else "a channel did not end cleanly")
PYTHON

(cd "$work/sent" && sha256sum file1 file2) >"$work/sums.sent"
(cd "$work/received" && sha256sum file1 file2) >"$work/sums.received"
sed 's/^/sent      /' "$work/sums.sent"
sed 's/^/received  /' "$work/sums.received"
cmp "$work/sums.sent" "$work/sums.received"
echo "equal: two files, two channels, one connection"
