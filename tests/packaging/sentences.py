# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs say beside a reason, read out of their sources: for the section MESSAGES of jami-connctl(1).

usage: sentences.py    puts them into packaging/jami-connctl.1.in, in place of those that are there
"""
import pathlib
import re

LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
LITERALS = r'((?:"(?:[^"\\]|\\.)*"\s*)+)(\+)?'
# Functions that take a reason and then its text, maybe behind what they are about; and structs that begin so.
CALLS = re.compile(r"\b(?:make_error|refuse|refused|reject|close(?:_\w+)?|reset|abort)\("
                   r"\s*(?:[\w.:>-]+(?:\(\))?,\s*){0,2}?(?:\w+::)*Reason::(k\w+),\s*" + LITERALS)
STRUCTS = re.compile(r"\{\s*(?:\w+::)*Reason::(k\w+),\s*" + LITERALS)
# What the params of a call lack.
PARAMS = re.compile(r"\bmake_rpc_error\(\s*(?:ipc::)?k\w+,\s*" + LITERALS)
NAMES = re.compile(r'ReasonInfo\{Reason::(k\w+), "([\w-]+)"')


def said(root):
    """(the reason's name, the sentence): where more is put behind it at run time, three dots."""
    names = dict(NAMES.findall((root / "proto/reason.h").read_text(encoding="utf-8")))
    out = set()
    for folder in ("daemon", "ipc", "tools"):
        for path in (root / folder).rglob("*.cpp"):
            text = path.read_text(encoding="utf-8")
            wrong = [("kInvalidArgument", *found) for found in PARAMS.findall(text)]
            for reason, literals, more in CALLS.findall(text) + STRUCTS.findall(text) + wrong:
                sentence = "".join(LITERAL.findall(literals))
                out.add((names[reason], sentence.rstrip(" '") + " ..." if more else sentence))
    return out


def roff(text):
    for character, name in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("^", "\\(ha")):
        text = text.replace(character, name)
    return "\\&" + text if text.startswith((".", "\\(aq")) else text


def entries(root):
    """The section's lines: by reason, in the table's order."""
    sentences = said(root)
    for _, name in NAMES.findall((root / "proto/reason.h").read_text(encoding="utf-8")):
        texts = sorted(text for reason, text in sentences if reason == name)
        if texts:
            yield f".TP\n.B {roff(name)}\n" + "\n.br\n".join(map(roff, texts)) + "\n"


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    page = root / "packaging/jami-connctl.1.in"
    head, mark, rest = page.read_text(encoding="utf-8").partition(".SH MESSAGES\n")
    section, end, tail = rest.partition(".SH ENVIRONMENT\n")
    page.write_text(head + mark + section.partition(".TP\n")[0] + "".join(entries(root)) + end + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
