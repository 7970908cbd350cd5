#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a built program has against being attacked, read from its ELF; debug information is not needed.

usage: elf_hardening.py PROGRAM…    exit code 1, and a line for each thing, if a program lacks something
"""
import pathlib
import platform
import re
import subprocess
import sys

# "endbr64" where indirect jumps may land, and "orq $0,(%rsp)": a page of a large frame is touched before it is used. Of
# other processors this file knows no bytes.
LANDING = b"\xf3\x0f\x1e\xfa"
PROBE = b"\x48\x83\x0c\x24\x00"
X86 = platform.machine() == "x86_64"
# A program of ours has thousands; what the C library's start files bring is below ten.
MIN_LANDINGS = 100


def readelf(*arguments):
    return subprocess.run(["readelf", "--wide", *arguments], check=True, capture_output=True, text=True).stdout


def text_of(path):
    """The bytes of .text."""
    found = re.search(r" \.text +PROGBITS +\S+ (\S+) (\S+) ", readelf("--section-headers", path))
    offset, size = int(found.group(1), 16), int(found.group(2), 16)
    return pathlib.Path(path).read_bytes()[offset:offset + size]


def lacks(path):
    """The names of what it has not; none: all is there."""
    dynamic = readelf("--dynamic", path)
    segments = readelf("--program-headers", path)
    symbols = readelf("--dyn-syms", path)
    text = text_of(path)
    has = {
        "position independent (PIE)": "(FLAGS_1)" in dynamic and re.search(r"FLAGS_1\).*\bPIE\b", dynamic),
        "RELRO": "GNU_RELRO" in segments,
        "all symbols bound at the start (BIND_NOW)": re.search(r"\bBIND_NOW\b|FLAGS_1\).*\bNOW\b", dynamic),
        "a stack that is no code": re.search(r"GNU_STACK .* RW +0x", segments),
        "no text relocations": "TEXTREL" not in dynamic,
        "no path of libraries of its own": "RPATH" not in dynamic and "RUNPATH" not in dynamic,
        "stack protector": "__stack_chk_fail" in symbols,
        "checked calls of the C library (FORTIFY_SOURCE)": re.search(r"\b__\w+_chk\b", symbols),
        "landing marks (CET)": not X86 or text.count(LANDING) >= MIN_LANDINGS,
        "stack clash protection": not X86 or PROBE in text,
    }
    return [name for name, there in has.items() if not there]


def main():
    bad = 0
    for path in sys.argv[1:]:
        missing = lacks(path)
        bad += len(missing)
        print(f"{path}: {'lacks ' + ', '.join(missing) if missing else 'hardened'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
