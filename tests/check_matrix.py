#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the matrix of tests/README.md and says which lines of the catalogue have no row, and which tests and files that
it names do not exist. Of the threat model, too, which tests, files, constants and options that it names do not exist, and
which rows have no test.

usage: check_matrix.py [--self-test] [ROOT]
"""
import fnmatch
import pathlib
import re
import sys

# How many lines each chapter of the catalogue has.
CATALOGUE = {"A": 14, "B": 14, "C": 9, "D": 5, "E": 5, "F": 8, "G": 8, "H": 6}
LINES = [f"{letter}{n}" for letter, count in CATALOGUE.items() for n in range(1, count + 1)]
# Faults that were found by trying, and must not come back. Their letters are a catalogue of their own.
FAULTS = (
    *(f"A{n}" for n in range(1, 8)), *(f"B{n}" for n in range(1, 8)), *(f"C{n}" for n in (1, 2, 4, 5, 6, 8, 9, 10)),
    "E0", "E00", *(f"E{n}" for n in range(1, 18)), "F", "F00", *(f"G{n}" for n in range(1, 6)), "H", "I", "J1", "J3", "J4", "J5",
)
FAULT = re.compile(r"\bfault ([A-J]\d*)(?!\w)")
THREATS = "daemon/THREATS.md"
CONSTANT = re.compile(r"\bk[A-Z]\w+")
OPTION = re.compile(r"`--([a-z-]+)")
SUFFIXES = "py|cpp|h|sh|md|txt|json|patch"
FILE = re.compile(rf"[\w./-]*\w\.(?:{SUFFIXES})\b")
FUNCTION = re.compile(r"\btest_\w+\*?")
DEFINED = re.compile(r"^def (test_\w+)\(", re.MULTILINE)
# Where a file that the page names may be.
PLACES = (".", "tests", "tests/e2e", "tests/interop", "tools/examples")


def rows(text):
    """The cells of each row of tables."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|--"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def missing_lines(text):
    """What the two catalogues have and no row names with a test."""
    firsts = [row[0] for row in rows(text) if len(row) == 3 and row[2]]
    named = {name for first in firsts for name in re.findall(r"\b[A-H]\d+\b", FAULT.sub("", first))}
    mended = {name for first in firsts for name in FAULT.findall(first)}
    return [name for name in LINES if name not in named] + [f"fault {name}" for name in FAULTS if name not in mended]


def named_files(text):
    return set(FILE.findall(text))


def named_functions(text):
    """With `*` at the end: all that begin so."""
    return set(FUNCTION.findall(FILE.sub("", text)))


def problems(text, exists, functions):
    out = [f"{name} has no row" for name in missing_lines(text)]
    out += [f"{name}: no such file" for name in sorted(named_files(text)) if not exists(name)]
    out += [f"{name}: no such test" for name in sorted(named_functions(text)) if not fnmatch.filter(functions, name)]
    return out


def untested_rows(text):
    """Of tables whose last column is what shows it: the rows without a test there."""
    threats = [row for row in rows(text) if len(row) == 4 and row[3] != "shown by"]
    return [row[0] for row in threats if not named_functions(row[3]) and not re.search(r"\w_test\.cpp|\btest_\w+\.(?:py|sh)", row[3])]


def threat_problems(text, exists, functions, code, options):
    """`code`: all of it; `options`: the names of the daemon's."""
    out = [problem for problem in problems(text, exists, functions) if "has no row" not in problem]
    out += [f"{row}: no test shows it" for row in untested_rows(text)]
    out += [f"{name}: no such constant" for name in sorted(set(CONSTANT.findall(text))) if not re.search(rf"\b{name}\b", code)]
    return out + [f"--{name}: no such option" for name in sorted(set(OPTION.findall(text))) if name not in options]


def check_threats(root, exists, functions):
    code = "".join(path.read_text(encoding="utf-8") for folder in ("proto", "ipc", "daemon") for path in (root / folder).rglob("*.h"))
    options = set(re.findall(r'OptionSpec\{"([a-z-]+)"', (root / "daemon/settings/options.cpp").read_text(encoding="utf-8")))
    assert code and options
    return [f"{THREATS}: {problem}" for problem in threat_problems((root / THREATS).read_text(encoding="utf-8"), exists, functions, code, options)]


def check_tree(root):
    functions = {name for path in root.glob("tests/**/test_*.py") for name in DEFINED.findall(path.read_text(encoding="utf-8"))}
    assert functions, f"no tests in {root}"
    text = (root / "tests/README.md").read_text(encoding="utf-8")
    def exists(name):
        return any((root / place / name).is_file() for place in PLACES)

    return problems(text, exists, functions) + check_threats(root, exists, functions)


def self_test():
    """What must be found is found, and nothing else."""
    whole = "| line | behaviour | test |\n|---|---|---|\n" + "".join(
        f"| {name} | it | `test_{name.lower()}_*`, proto/mux_test.cpp |\n" for name in [*LINES, *(f"fault {name}" for name in FAULTS)])
    whole = whole.replace("`test_fault ", "`test_fault_")
    functions = {f"test_{name.lower()}_it" for name in [*LINES, *(f"fault_{name}" for name in FAULTS)]}
    files = {"proto/mux_test.cpp"}

    def said(text):
        return problems(text, files.__contains__, functions)

    assert said(whole) == []
    assert said(whole.replace("| D5 |", "| - |")) == ["D5 has no row"]
    assert said(whole.replace("`test_e2_*`, proto/mux_test.cpp", "")) == ["E2 has no row"]
    assert said(whole.replace("| A1 |", "| A2, A1 |")) == []
    assert said(whole.replace("| A1 |", "| - |")) == ["A1 has no row"]
    assert said(whole.replace("| fault E00 |", "| fault E0 |")) == ["fault E00 has no row"]
    assert said(whole + "proto/gone_test.cpp") == ["proto/gone_test.cpp: no such file"]
    assert said(whole + "`test_a1_i`") == ["test_a1_i: no such test"]
    assert said(whole + "`test_a16_*`") == ["test_a16_*: no such test"]

    def of_threats(text):
        head = "| he wants | he gets | because of | shown by |\n|---|---|---|---|\n"
        return threat_problems(head + text, files.__contains__, functions, "constexpr int kMost = 1;", {"most"})

    assert of_threats("| it | `--most`, `kMost` | - | proto/mux_test.cpp |\n") == []
    assert of_threats("| it | little | - | `test_a1_*` |\n") == []
    assert of_threats("| it | little | - | nothing yet |\n") == ["it: no test shows it"]
    assert of_threats("| it | `kLeast` | - | `test_a1_it` |\n") == ["kLeast: no such constant"]
    assert of_threats("| it | `--least` | - | `test_a1_it` |\n") == ["--least: no such option"]
    assert of_threats("| it | little | daemon/x.h | `test_a1_it` |\n") == ["daemon/x.h: no such file"]
    assert of_threats("| it | little | - | `test_b16_*` |\n") == ["test_b16_*: no such test"]


def main():
    arguments = sys.argv[1:]
    if "--self-test" in arguments:
        self_test()
        arguments.remove("--self-test")
    found = check_tree(pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).resolve().parents[1])
    for problem in found:
        print(problem)
    print(f"{len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
