#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts what opening and ending one more channel, or connection, costs with few and with many channels, and what the local
API's part of it does.

    tests/channel_costs.py [BUILD] [FEW MANY]     default: build/release 1000 15000; needs valgrind

Instructions by callgrind, of tests/daemon/channel_costs_test.cpp and api_costs_test.cpp. Exit code 1 if any costs over 1.2 times as much."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
MOST = 1.2
PROGRAMS = ("connection_manager_test", "daemon_api_test")
# What the local API's side adds to what the connection's side of the same event costs: they are judged together.
PARTS = {"cost_own_one_more": "cost_open_one", "cost_owned_one_ends": "cost_end_one"}


def count(program, channels):
    """Instructions of each function of that test, with what it calls."""
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory, "out")
        subprocess.run(
            ["valgrind", "--tool=callgrind", "--toggle-collect=cost_*", f"--callgrind-out-file={out}", program, "[costs]"],
            env={**os.environ, "CONND_CHANNELS": str(channels)},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        text = subprocess.run(
            ["callgrind_annotate", "--inclusive=yes", "--threshold=100", out], check=True, capture_output=True, text=True
        ).stdout
    costs = {}
    for line in text.splitlines():
        if found := re.match(r"\s*([\d,]+) .*:(cost_\w+)\b", line):
            costs.setdefault(found[2], int(found[1].replace(",", "")))
    return costs


def main():
    arguments = sys.argv[1:]
    build = pathlib.Path(arguments.pop(0)) if arguments and not arguments[0].isdigit() else ROOT / "build/release"
    few, many = (int(a) for a in arguments) if arguments else (1_000, 15_000)
    with_few, with_many = {}, {}
    for program in (build / "tests/daemon" / name for name in PROGRAMS):
        some, more = count(program, few), count(program, many)
        if not some or some.keys() != more.keys():
            sys.exit("callgrind has seen none of the functions")
        with_few |= some
        with_many |= more
    worst = 0
    for part, whole in PARTS.items():
        with_few[whole] += with_few.pop(part)
        with_many[whole] += with_many.pop(part)
    for name, cost in sorted(with_few.items()):
        ratio = with_many[name] / cost
        worst = max(worst, ratio)
        print(f"{name:20} {cost // 10:>12,} instructions with {few}, {with_many[name] // 10:>12,} with {many}: {ratio:.2f}")
    sys.exit(worst > MOST)


if __name__ == "__main__":
    main()
