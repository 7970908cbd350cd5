#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes completions of jami-connctl from its own grammar: generate_completions.py bash|zsh|fish grammar.json"""
import json
import re
import sys

PROGRAM = "jami-connctl"
HEAD = "# SPDX-License-Identifier: GPL-3.0-or-later\n# Made from the program's grammar."
# Aliases, one a line.
PEERS = f"{PROGRAM} alias list --json 2>/dev/null | sed -n 's/.*\"name\":\"\\([^\"]*\\)\".*/\\1/p'"


def levels(app, path=()):
    """Every place where something can be typed: (words so far, app)."""
    yield path, app
    for verb in app["verbs"]:
        yield from levels(verb, (*path, verb["name"]))


def kind(value):
    """What a value is completed with: choices (a list), "peers", "files", "directories", or None."""
    if re.fullmatch(r"[a-z]+(\|[a-z]+)+", value):
        return value.split("|")
    words = re.split(r"[|,]", value.rstrip(".…"))
    for word, what in (("PEER", "peers"), ("ID", "peers"), ("NAME", "peers"), ("DIR", "directories"), ("FILE", "files"), ("PATH", "files"),
                       ("CMD", "commands")):
        if word in words:
            return what
    return None


# ---- bash ----


def bash_action(value):
    what = kind(value)
    if isinstance(what, list):
        return f"COMPREPLY=($(compgen -W '{' '.join(what)}' -- \"$cur\"))"
    return {"peers": 'COMPREPLY=($(compgen -W "$(_jami_connctl_peers)" -- "$cur"))',
            "files": 'compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur"))',
            "directories": 'compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur"))',
            "commands": 'COMPREPLY=($(compgen -c -- "$cur"))',
            None: "COMPREPLY=()"}[what]


def bash(grammar):
    paths = [" ".join(path) for path, _ in levels(grammar) if path]
    with_value = sorted({name for _, app in levels(grammar) for o in app["options"] if o["value"] for name in o["names"]})
    values, words, arguments = [], [], []
    common = grammar["options"]
    for path, app in levels(grammar):
        at = " ".join(path)
        for option in app["options"]:
            if option["value"]:
                pattern = "|".join(f"'{at}':{name}" if path else f"*:{name}" for name in option["names"])
                values.append(f"    {pattern}) {bash_action(option['value'])}; return ;;")
        names = sorted({name for o in app["options"] + common for name in o["names"]})
        verbs = [verb["name"] for verb in app["verbs"]]
        words.append(f"    '{at}') options='{' '.join(names)}' verbs='{' '.join(verbs)}' ;;")
        for number, argument in enumerate(app["arguments"]):
            place = "*" if argument["repeat"] else number
            arguments.append(f"    '{at}':{place}) {bash_action(argument['value'])} ;;")
    # Verbs' own options come before the common ones, which match everywhere.
    values.sort(key=lambda line: line.lstrip().startswith("*"))
    line = "\n"
    return f"""{HEAD}
_jami_connctl_peers() {{
  {PEERS}
}}

_jami_connctl() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}}
  local path= options= verbs= number=0 i word
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    case $word in
    --exec)
      ((i + 1 < COMP_CWORD)) && {{ compopt -o default; return; }} ;;
    esac
    case $word in
    {"|".join(with_value)}) ((i++)); continue ;;
    -*) continue ;;
    esac
    case "${{path:+$path }}$word" in
    {"|".join(f"'{path}'" for path in paths)}) path="${{path:+$path }}$word" ;;
    *) ((number++)) ;;
    esac
  done
  case "$path:$prev" in
{line.join(values)}
  esac
  case $path in
{line.join(words)}
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
    return
  fi
  if [[ $verbs ]]; then
    COMPREPLY=($(compgen -W "$verbs" -- "$cur"))
    return
  fi
  case "$path:$number" in
{line.join(arguments)}
  esac
}}
complete -F _jami_connctl {PROGRAM}"""


# ---- zsh ----


def zsh_text(text):
    return re.sub(r"([\[\]:\\])", r"\\\1", text).replace("'", "'\\''")


def zsh_action(value):
    what = kind(value)
    if isinstance(what, list):
        return f"({' '.join(what)})"
    return {"peers": "_jami_connctl_peers", "files": "_files", "directories": "_files -/", "commands": "_command_names -e", None: " "}[what]


def zsh_specs(app, common):
    out = []
    for option in common + [o for o in app["options"] if o not in common]:
        for name in option["names"]:
            value = f":{zsh_text(option['value'])}:{zsh_action(option['value'])}" if option["value"] else ""
            out.append(f"'{name}[{zsh_text(option['help'])}]{value}'")
    for number, argument in enumerate(app["arguments"], 1):
        place = "*" if argument["repeat"] else number
        out.append(f"'{place}:{zsh_text(argument['value'])}:{zsh_action(argument['value'])}'")
    return out


def zsh_function(path, app, common):
    name = "_".join(("_jami_connctl", *path)).replace("-", "_")
    specs = zsh_specs(app, common)
    indent = " \\\n    "
    if not app["verbs"]:
        return f"{name}() {{\n  _arguments{indent}{indent.join(specs)}\n}}"
    verbs = "\n".join(f"      '{verb['name']}:{zsh_text(verb['help'])}'" for verb in app["verbs"])
    calls = "\n".join(f"    {verb['name']}) {name}_{verb['name'].replace('-', '_')} ;;" for verb in app["verbs"])
    return f"""{name}() {{
  local curcontext="$curcontext" state line
  local -a verbs=(
{verbs}
  )
  _arguments -C{indent}{indent.join(specs)}{indent}'1:verb:->verb'{indent}'*::argument:->argument'
  case $state in
  verb) _describe verb verbs ;;
  argument)
    case $line[1] in
{calls}
    esac ;;
  esac
}}"""


def zsh(grammar):
    functions = "\n\n".join(zsh_function(path, app, grammar["options"]) for path, app in levels(grammar))
    return f"""#compdef {PROGRAM}
{HEAD}
_jami_connctl_peers() {{
  local -a peers=(${{(f)"$({PEERS})"}})
  compadd -a peers
}}

{functions}

_jami_connctl "$@\""""


# ---- fish ----


def fish_text(text):
    return text.replace("\\", "\\\\").replace("'", "\\'")


def fish_action(value):
    what = kind(value)
    if isinstance(what, list):
        return f" -x -a '{' '.join(what)}'"
    return {"peers": " -x -a '(__jami_connctl_peers)'", "files": " -r -F", "directories": " -x -a '(__fish_complete_directories)'",
            "commands": " -x -a '(__fish_complete_command)'", None: " -x"}[what]


def fish(grammar):
    with_value = sorted({name for _, app in levels(grammar) for o in app["options"] if o["value"] for name in o["names"]})
    paths = " ".join(f"'{' '.join(path)}'" for path, _ in levels(grammar) if path)
    out = [f"""{HEAD}
function __jami_connctl_peers
    {PEERS}
end

# Whether the verbs typed so far are these.
function __jami_connctl_at
    set -l path
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        if contains -- $word {' '.join(with_value)}
            set skip 1
            continue
        end
        set -l longer (string join ' ' -- $path $word)
        if contains -- $longer {paths}
            set path $longer
        end
    end
    test "$path" = "$argv"
end

complete -c {PROGRAM} -f"""]
    for path, app in levels(grammar):
        at = f"complete -c {PROGRAM} -n '__jami_connctl_at {' '.join(path)}'".replace(" '__jami_connctl_at '", " __jami_connctl_at")
        for option in app["options"]:
            # Those of the program are taken behind every verb.
            place = at if path else f"complete -c {PROGRAM}"
            if path and option in grammar["options"]:
                continue
            names = "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option["names"])
            out.append(f"{place}{names}{fish_action(option['value']) if option['value'] else ''} -d '{fish_text(option['help'])}'")
        for verb in app["verbs"]:
            out.append(f"{at} -x -a {verb['name']} -d '{fish_text(verb['help'])}'")
        for argument in app["arguments"]:
            if kind(argument["value"]):
                out.append(f"{at}{fish_action(argument['value']).replace(' -r -F', ' -F')}")
    return "\n".join(out)


def main():
    shell, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        grammar = json.load(file)
    print({"bash": bash, "zsh": zsh, "fish": fish}[shell](grammar))


if __name__ == "__main__":
    main()
