#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How large the classes are: member functions and fields of each, as its header declares them.

    tests/class_sizes.py              all with more than 20 functions or 10 fields, the largest first
    tests/class_sizes.py NAME…        these
    tests/class_sizes.py --check      those over the bound of 40 and 20 that are not known to be; exit code 1 if any

Nested classes are counted by themselves. What has fields and next to no functions, such as settings, is not checked."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("proto", "ipc", "daemon", "tools")
MOST_FUNCTIONS, MOST_FIELDS = 40, 20
PLAIN_VALUES = 2  # functions
# To be divided: none are left.
KNOWN = set()


def without_comments(text):
    text = re.sub(r'"(\\.|[^"\\\n])*"', '""', text)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r"//[^\n]*|^\s*#[^\n]*", "", text, flags=re.M)


def closing(text, at, pair="{}"):
    """The index behind the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(text)):
        if text[i] == pair[0]:
            depth += 1
        elif text[i] == pair[1]:
            depth -= 1
            if depth == 0:
                return i + 1
    return len(text)


CLASS = re.compile(r"\b(class|struct)\s+(?:\[\[\w+\]\]\s*)?(\w+)\s*(?:final\s*)?(?::[^;{(]*)?\{")


def statements(body):
    """The declarations of a class's body, nested braces left out."""
    out, start, i = [], 0, 0
    while i < len(body):
        c = body[i]
        if c == "(":
            i = closing(body, i, "()")
        elif c == "{":
            head = body[start:i]
            i = closing(body, i)
            # A function's body ends its statement; an initializer and an enum end with a semicolon.
            if "(" in head and "=" not in head.split("(")[0] and not re.match(r"\s*(using|enum|class|struct|union)\b", head):
                if not re.search(r"\)\s*:\s*[^:]", head) or not body[i:].lstrip().startswith((",", "{")):
                    out.append(head)
                    start = i
        elif c == ";":
            out.append(body[start:i])
            i += 1
            start = i
        else:
            i += 1
    return out


def count(body):
    functions = fields = 0
    for statement in statements(body):
        words = re.sub(r"^(\s*(public|private|protected)\s*:)+", "", statement).strip()
        words = re.sub(r"^\s*\[\[[^\]]*\]\]\s*", "", words)
        if not words or re.match(r"(using|friend|enum|class|struct|union|static_assert|typedef)\b", words):
            continue
        if re.match(r"template\s*<", words):
            words = words[closing(words, words.index("<"), "<>"):].strip()
        if words.endswith(("= delete", "= default")):
            continue
        before = re.split(r"[={]", words)[0]
        plain = re.sub(r"<[^<>]*(<[^<>]*(<[^<>]*>)?[^<>]*>)?[^<>]*>", "", before)
        if "(" in plain:
            functions += 1
        elif not re.match(r"static\s+constexpr\b|constexpr\b", words):
            fields += 1 + plain.count(",")
    return functions, fields


def classes():
    for folder in FOLDERS:
        for header in sorted((ROOT / folder).rglob("*.h")):
            text = without_comments(header.read_text(encoding="utf-8"))
            for match in CLASS.finditer(text):
                if re.search(r"enum\s+$", text[:match.start()]):
                    continue
                end = closing(text, match.end() - 1)
                yield match.group(2), header.relative_to(ROOT), *count(text[match.end():end - 1])


def main():
    names = set(sys.argv[1:])
    check = "--check" in names
    names.discard("--check")
    found = sorted(classes(), key=lambda one: -(one[2] + one[3]))
    if check:
        over = {one[0]: one for one in found if one[2] > MOST_FUNCTIONS or (one[3] > MOST_FIELDS and one[2] > PLAIN_VALUES)}
        for name in sorted(over.keys() - KNOWN):
            print(f"{over[name][1]}: {name} has {over[name][2]} functions and {over[name][3]} fields: divide it")
        for name in sorted(KNOWN - over.keys()):
            print(f"{name} is within the bounds now: take it from the list of those known to be over them")
        return 1 if over.keys() ^ KNOWN else 0
    for name, header, functions, fields in found:
        if name in names or not names and (functions > MOST_FUNCTIONS // 2 or fields > MOST_FIELDS // 2):
            print(f"{functions:4} functions {fields:4} fields  {name:28} {header}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
