#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later OR MIT
# Carries connections of programs that know nothing of jami-connd, by socat and jami-connctl.
#   socat.sh forward LOCAL PEER URI   each connection to LOCAL becomes a channel to PEER
#   socat.sh serve URI TARGET         each channel that a peer opens becomes a connection to TARGET
# LOCAL and TARGET are socat's addresses. A web server on bob, seen on alice as http://127.0.0.1:8080/:
#   bob$   socat.sh serve web TCP:127.0.0.1:80
#   alice$ socat.sh forward TCP-LISTEN:8080,bind=127.0.0.1,reuseaddr BOB web
# TCP has no word for an abort: a channel that breaks looks like an end there. Programs that care use jami-connctl alone.
set -euo pipefail

case "${1:-} $#" in
  "forward 4")
    export PEER=$3 URI=$4  # not in the address, where colons and commas mean something
    # nofork: jami-connctl gets the connection itself, and each direction ends when it does.
    exec socat "$2,fork" 'SYSTEM:exec jami-connctl open \"$PEER\" \"$URI\",nofork'
    ;;
  "serve 3")
    # -t: when one side has ended, and the other is silent for so many seconds, both have. shut-none: only the end of
    # socat, with exit code 0, is a clean end of the channel.
    exec jami-connctl listen "$2" --exec socat -t "${QUIET_S:-60}" STDIO,shut-none "$3"
    ;;
  *)
    sed -n '3,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
