#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes manual pages, and the sample configuration, from hand-written text and the programs' own tables.

usage: generate_man.py PAGE.in options.json grammar.json    a page: lines @OPTIONS@, @CONF_OPTIONS@, @VERBS@ are replaced
       generate_man.py --conf options.json                  the sample configuration
"""
import email.utils
import json
import pathlib
import re
import sys
import textwrap


def roff(text):
    """Text as roff reads it, on any terminal."""
    for character, name in (("\\", "\\e"), ("-", "\\-"), ("…", "..."), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")):
        text = text.replace(character, name)
    assert text.isascii(), text
    return re.sub(r"^\.", "\\\\\\&.", text, flags=re.MULTILINE)


def bold(text):
    return f"\\fB{roff(text)}\\fR"


def italic(text):
    return f"\\fI{roff(text)}\\fR"


def sentence(text):
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", ":")) else text + "."


def value_of(option):
    """Choices are written as they are, a placeholder stands for something."""
    value = option["value"]
    return "|".join(bold(word) if word.islower() else italic(word) for word in value.split("|"))


# ---- the daemon's options ----


def limits(option):
    out = []
    if "min" in option and option["max"] > 0:
        out.append(f"{option['min']} to {option['max']}")
    if option["default"] and option["value"]:
        out.append(f"default {option['default']}")
    return f" ({'; '.join(out)})" if out else ""


def option_entry(option, heading):
    effect = "" if option["reload"] else "\nA change takes effect at the next start."
    return f".TP\n{heading}\n{roff(sentence(option['help'] + limits(option)))}{effect}"


def daemon_options(options):
    return "\n".join(option_entry(o, bold("--" + o["name"]) + (" " + value_of(o) if o["value"] else "")).split("\nA change")[0]
                     for o in options["options"])


def conf_options(options):
    return "\n".join(option_entry(o, bold(o["name"]) + " = " + (value_of(o) if o["value"] else "\\fBtrue\\fR|\\fBfalse\\fR"))
                     for o in options["options"])


def sample(options):
    out = ["# Options of jami-connd; see jami-connd.conf(5). One 'key = value' a line. What is commented out is the default.",
           "# After a change: systemctl reload jami-connd, or SIGHUP. Options with (restart) wait for the next start."]
    for option in options["options"]:
        text = sentence(option["help"] + limits(option)) + ("" if option["reload"] else " (restart)")
        out += ["", *textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ")]
        out.append(f"#{option['name']} = {option['default'] or option['value']}")
    return "\n".join(out)


# ---- the verbs of jami-connctl ----


def leaves(app, path=()):
    for verb in app["verbs"]:
        if verb["verbs"]:
            yield from leaves(verb, (*path, verb["name"]))
        else:
            yield (*path, verb["name"]), verb


def own_options(app):
    return [option for option in app["options"] if "--help" not in option["names"]]


def synopsis(path, verb):
    out = [bold(" ".join(path))]
    for argument in verb["arguments"]:
        text = value_of(argument) + ("..." if argument["repeat"] else "")
        out.append(text if argument["required"] else f"[{text}]")
    for option in own_options(verb):
        text = bold(option["names"][-1]) + (" " + value_of(option) if option["value"] else "")
        out.append(text if option["required"] else f"[{text}]")
    return " ".join(out)


def paragraph(text):
    """A paragraph of a footer; examples keep their lines."""
    if not text.startswith("Example"):
        return ".IP\n" + roff(" ".join(text.split()))
    label, rest = text.split(":", 1)
    lines = [line.strip() for line in rest.strip().splitlines()]
    return f".IP\n{label}:\n.nf\n" + "\n".join(roff(line) for line in lines) + "\n.fi"


def verb_entry(path, verb):
    out = [".TP", synopsis(path, verb), roff(sentence(verb["help"]))]
    described = verb["arguments"] + own_options(verb)
    if described:
        out.append(".RS")
        for item in described:
            head = ", ".join(bold(name) for name in item["names"])
            head += (" " if head and item["value"] else "") + (value_of(item) if item["value"] else "")
            out += [".TP", head, roff(sentence(item["help"]))]
        out.append(".RE")
    # The example may stand in the last line of a paragraph.
    text = re.sub(r"(?<=[.\n]) *(?=Examples?:)", "\n\n", verb["footer"])
    out += [paragraph(part) for part in re.split(r"\n\s*\n", text.strip()) if part]
    return "\n".join(out)


def verbs(grammar):
    return "\n".join(verb_entry(path, verb) for path, verb in leaves(grammar))


def global_options(grammar):
    return "\n".join(f".TP\n{', '.join(bold(n) for n in o['names'])}{' ' + value_of(o) if o['value'] else ''}\n{roff(sentence(o['help']))}"
                     for o in grammar["options"])


def last_change():
    """The date of the changelog, so that the same sources make the same page."""
    with open(pathlib.Path(__file__).with_name("changelog"), encoding="utf-8") as file:
        trailer = next(line for line in file if line.startswith(" -- "))
    return email.utils.parsedate_to_datetime(trailer.split(">", 1)[1].strip()).date().isoformat()


def main():
    if sys.argv[1] == "--conf":
        with open(sys.argv[2], encoding="utf-8") as file:
            print(sample(json.load(file)))
        return
    page, options, grammar, etc = sys.argv[1:]
    with open(options, encoding="utf-8") as file:
        options = json.load(file)
    with open(grammar, encoding="utf-8") as file:
        grammar = json.load(file)
    parts = {"OPTIONS": daemon_options, "CONF_OPTIONS": conf_options}
    with open(page, encoding="utf-8") as file:
        text = file.read().replace("@VERSION@", options["version"]).replace("@DATE@", last_change())
    text = text.replace("@ETC@", etc.replace("-", "\\-"))
    for name, make in parts.items():
        text = text.replace(f"@{name}@", make(options))
    print(text.replace("@VERBS@", verbs(grammar)).replace("@GLOBAL_OPTIONS@", global_options(grammar)), end="")


if __name__ == "__main__":
    main()
