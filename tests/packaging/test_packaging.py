# SPDX-License-Identifier: GPL-3.0-or-later
"""Manual pages, completions, the sample configuration and units, held to the programs themselves."""
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest
from elf_hardening import lacks
from sentences import said

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CONND_BUILD", ROOT / "build" / "release"))
DAEMON = os.environ.get("CONND_DAEMON") or str(BUILD / "daemon/jami-connd")
CTL = os.environ.get("CONND_CTL") or str(BUILD / "tools/jami-connctl")
MADE = BUILD / "packaging"
OPTION = re.compile(r"^ +((?:-\w,)?(?:--[a-z][a-z-]*|-\w))(?=[ \n])", re.MULTILINE)
VERB = re.compile(r"^  ([a-z-]+)  ", re.MULTILINE)
EXAMPLE = re.compile(r"(?:Examples?:|^) +(jami-connctl .*)", re.MULTILINE)


def need(program):
    found = shutil.which(program)
    if not found:
        pytest.skip(f"needs {program}")
    return found


def output(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def made(name):
    return (MADE / name).read_text(encoding="utf-8")


def plain(page):
    """A manual page without its marks."""
    return re.sub(r"\\f[BIR]", "", made(page)).replace("\\-", "-")


def daemon_options():
    options = set(re.findall(r"^  (--[a-z-]+)", output(DAEMON, "--help"), re.MULTILINE))
    assert len(options) > 20
    return options


def grammar(path=()):
    """(words of the verb, its options) of the command line, as its --help tells."""
    text = output(CTL, *path, "--help")
    head, _, rest = text.partition("\nSubcommands:\n")
    options = {name for names in OPTION.findall(head) for name in names.split(",")}
    verbs = VERB.findall(rest)
    yield path, options
    for verb in verbs:
        yield from grammar((*path, verb))


@pytest.fixture(scope="module")
def levels():
    found = list(grammar())
    assert len(found) > 15 and ("trust", "allow") in dict(found)
    assert "--timeout" in dict(found)[("open",)] and "-q" in dict(found)[("open",)]
    return found


def test_examples_are_lines_that_the_program_takes(levels, tmp_path):
    seen = set()
    for path, _ in levels:
        examples = EXAMPLE.findall(output(CTL, *path, "--help"))
        assert examples, path
        for example in examples:
            words = shlex.split(re.split(r" [|<>] ", example)[0])
            # No daemon answers there, which is found out behind the grammar: exit code 2 is for what that does not take.
            done = subprocess.run([CTL, "--socket", str(tmp_path / "none"), *words[1:]], capture_output=True, text=True, check=False)
            assert done.returncode in (0, 1, 3), (example, done.stderr)
            seen.add(words[1])
    assert {"open", "listen", "send", "receive", "identity", "crl", "events", "call"} <= seen


def test_daemon_page_has_the_options_of_help_and_no_others():
    named = set(re.findall(r"^(?:\.B )?(--[a-z-]+)", plain("jami-connd.8"), re.MULTILINE))
    assert named == daemon_options()


def test_conf_page_and_sample_have_the_options_of_help_and_no_others():
    options = {name[2:] for name in daemon_options()} - {"help", "version", "config"}
    page = plain("jami-connd.conf.5").partition("\n.SH OPTIONS\n")[2]
    assert set(re.findall(r"^([a-z-]+) = ", page, re.MULTILINE)) == options
    assert set(re.findall(r"^#([a-z-]+) = ", made("jami-connd.conf"), re.MULTILINE)) == options


def test_sample_configuration_is_one(tmp_path):
    sample = made("jami-connd.conf")
    # The defaults that it states are taken, too: the first complaint is about the line that follows them.
    given = re.sub(r"^#([a-z-]+ = )(?!DIR|PATH|WHO)", r"\1", sample, flags=re.MULTILINE)
    for text in (sample, given):
        conf = tmp_path / "conf"
        conf.write_text(text + "nonsense = 1\n", encoding="utf-8")
        ended = subprocess.run([DAEMON, "--config", conf], check=False, capture_output=True, text=True)
        assert ended.returncode == 2
        assert ended.stderr.startswith(f"jami-connd: {conf}:{text.count(chr(10)) + 1}: there is no option 'nonsense'")


def test_ctl_page_has_every_verb_and_option(levels):
    page = plain("jami-connctl.1")
    entries = dict(re.findall(r"^\.TP\n([a-z]+(?: [a-z-]+)?)(?= [^a-z\n]|\n| [A-Z\[])(.*?)(?=^\.TP\n[a-z]|^\.SH)", page, re.MULTILINE | re.DOTALL))
    common = dict(levels)[()]
    parents = {path[:-1] for path, _ in levels if path}
    for path, options in levels:
        if path in parents:
            continue
        entry = entries[" ".join(path)]
        for option in options - common:
            assert option in entry, (path, option)
    for option in common:
        assert option in page


def test_fault_f00_ctl_page_has_every_reason_with_its_sentence():
    table = re.findall(r'ReasonInfo\{Reason::\w+, "([\w-]+)", (\d), (?:true|false),\s+"([^"]*)"\}',
                       (ROOT / "proto/reason.h").read_text(encoding="utf-8"))
    assert len(table) > 20
    section = plain("jami-connctl.1").partition("\n.SH REASONS\n")[2].partition("\n.SH ")[0]
    stated = re.findall(r"^\.B ([\w-]+) \((\d)\)\n(.*)\.$", section, re.MULTILINE)
    assert stated == [(name, code, text[0].upper() + text[1:]) for name, code, text in table]


def messages(page):
    """(reason, sentence) of a page's section MESSAGES."""
    text = plain(page)
    for mark, character in (("\\(aq", "'"), ("\\(ha", "^"), ("\\&", "")):
        text = text.replace(mark, character)
    section = text.partition("\n.SH MESSAGES\n")[2].partition("\n.SH ")[0]
    return [(name, sentence) for name, sentences in re.findall(r"^\.B ([\w-]+)\n((?:(?!\.TP).*\n?)*)", section, re.MULTILINE)
            for sentence in sentences.strip().split("\n.br\n")]


def test_fault_f_ctl_page_has_every_sentence_with_its_reason():
    sentences = said(ROOT)
    # It sees what it should.
    assert len(sentences) > 100 and ("declined", "the application did not answer") in sentences
    stated = messages("jami-connctl.1")
    assert sorted(stated) == sorted(sentences), "tests/packaging/sentences.py puts them into the page"


def test_fault_f_daemon_page_has_every_sentence_about_peers_with_its_reason():
    names = dict(re.findall(r'ReasonInfo\{Reason::(\w+), "([\w-]+)"', (ROOT / "proto/reason.h").read_text(encoding="utf-8")))
    rows = re.findall(r'Row\{Errc::\w+, Reason::(\w+),\s*"([^"]*)"\}', (ROOT / "proto/error.cpp").read_text(encoding="utf-8"))
    assert len(rows) > 40
    assert sorted(messages("jami-connd.8")) == sorted((names[reason], text) for reason, text in rows)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_have_every_verb_and_option(levels, shell):
    text = made(f"jami-connctl.{shell}")
    for path, options in levels:
        for word in path:
            assert re.search(rf"\b{word}\b", text), path
        for option in options:
            mark = f" -l {option[2:]} " if option.startswith("--") else f" -s {option[1:]} "
            assert (mark if shell == "fish" else option) in text, (path, option)


def test_fault_e15_pages_say_what_ends_with_a_login():
    for page in ("jami-connd.8", "jami-connctl.1"):
        assert "loginctl enable-linger" in plain(page)
    assert "systemd-run --user" in plain("jami-connctl.1")


# ---- cmake --install ----


def test_fault_e16_nothing_is_installed_of_a_build_that_is_not_whole(tmp_path):
    need("cmake")
    need("ninja")
    unbuilt, prefix = tmp_path / "build", tmp_path / "prefix"
    output("cmake", "-S", ROOT, "-B", unbuilt, "-G", "Ninja", "-DCONND_TESTS=OFF")
    done = subprocess.run(["cmake", "--install", unbuilt, "--prefix", prefix], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "--target connd_installed" in done.stderr and not prefix.exists(), done.stderr


def test_fault_e16_an_installation_is_whole_and_says_where_its_configuration_is(tmp_path):
    need("cmake")
    output("cmake", "--install", BUILD, env=os.environ | {"DESTDIR": str(tmp_path)})
    there = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if path.is_file()}

    def the(end):
        found = [name for name in there if name.endswith(end)]
        assert len(found) == 1, (end, found)
        return found[0]

    for end in ("bin/jami-connd", "bin/jami-connctl", "libjami-connd-client.a", "man1/jami-connctl.1", "completions/jami-connctl"):
        the(end)
    conf = "/" + the("jami-connd/jami-connd.conf")
    for end in ("man8/jami-connd.8", "man5/jami-connd.conf.5", "systemd/system/jami-connd.service"):
        text = there[the(end)].read_text(encoding="utf-8").replace("\\-", "-")
        assert conf in text and "@ETC@" not in text, end


# ---- completions, by the shells themselves ----


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_take_the_completions(shell):
    output(need(shell), "-n", MADE / f"jami-connctl.{shell}")


COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { :; }
_jami_connctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


def bash_completes(*words):
    return output(need("bash"), "-c", COMPLETE, "bash", str(MADE / "jami-connctl.bash"), "jami-connctl", *words).split()


def test_bash_completes(tmp_path):
    (tmp_path / "a file").touch()
    assert {"open", "listen", "trust"} <= set(bash_completes(""))
    assert bash_completes("tru") == ["trust"]
    assert set(bash_completes("trust", "")) == {"allow", "ban", "unset", "list"}
    assert set(bash_completes("--json", "trust", "allow", "x", "--kind", "")) == {"device", "account", "ca"}
    assert set(bash_completes("open", "--")) >= {"--timeout", "--unique", "--json", "--socket"}
    assert "--kind" not in bash_completes("open", "--")
    assert "open" in bash_completes("--socket", "trust", "op")
    assert bash_completes("open", "x", "y", "--timeout", "") == []


def fish_completes(line):
    source = f"source {MADE / 'jami-connctl.fish'}; complete -C '{line}'"
    return {entry.split("\t")[0] for entry in output(need("fish"), "-N", "-c", source).splitlines()}


def test_fish_completes():
    assert {"open", "listen", "trust"} <= fish_completes("jami-connctl ")
    assert fish_completes("jami-connctl trust ") == {"allow", "ban", "unset", "list"}
    assert fish_completes("jami-connctl trust allow x --kind ") == {"device", "account", "ca"}
    assert {"--timeout", "--unique", "--json"} <= fish_completes("jami-connctl open --")


@pytest.mark.parametrize("page", ["jami-connd.8", "jami-connd.conf.5", "jami-connctl.1"])
def test_pages_are_clean(page):
    groff = need("groff")
    ended = subprocess.run([groff, "-ww", "-man", "-Tutf8", "-z", MADE / page], check=True, capture_output=True, text=True)
    assert ended.stderr == ""
    if shutil.which("mandoc"):
        ended = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", MADE / page], check=False, capture_output=True, text=True)
        # Its style of short lines is not ours.
        complaints = [line for line in ended.stdout.splitlines() if "STYLE: input text line longer" not in line]
        assert complaints == []


# ---- units ----


@pytest.fixture
def units(tmp_path):
    """The units, with the daemon that was built; systemd wants to find it."""
    def prepared(name):
        for suffix in ("service", "socket"):
            source = next(path for path in (BUILD / "systemd" / name / f"jami-connd.{suffix}",
                                            ROOT / "systemd" / ("user" if name == "user" else "") / f"jami-connd.{suffix}") if path.exists())
            text = re.sub(r"^ExecStart=\S+", f"ExecStart={DAEMON}", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
            (tmp_path / source.name).write_text(text, encoding="utf-8")
        return [str(tmp_path / "jami-connd.service"), str(tmp_path / "jami-connd.socket")]

    return prepared


@pytest.mark.parametrize("manager", ["system", "user"])
def test_units_are_valid(units, manager, tmp_path):
    command = [need("systemd-analyze"), f"--{manager}", "--man=no", "verify", *units(manager)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True,
                           env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert ended.returncode == 0 and "jami-connd" not in ended.stderr, ended.stderr


# Of systemd's scale from 0 to 10, in tenths.
@pytest.mark.parametrize("manager, exposure", [("system", 20), ("user", 30)])
def test_fault_i_services_are_hardened(units, manager, exposure, tmp_path):
    command = [need("systemd-analyze"), f"--{manager}", "security", "--offline=true", f"--threshold={exposure}", "--no-pager", units(manager)[0]]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)})
    print(ended.stdout.splitlines()[-1])
    assert ended.returncode == 0, ended.stdout


def generated(directory, path, **environment):
    """The drop-ins of the user units' generator, with these programs."""
    directory.mkdir()
    subprocess.run([ROOT / "systemd/user/jami-connd-sandbox", directory, directory, directory], check=True,
                   env={"PATH": path, **environment})
    return {made.name: made.read_text(encoding="utf-8") for made in directory.glob("jami-connd.service.d/*")}


def test_fault_i_the_sandbox_goes_where_there_are_no_user_namespaces(units, tmp_path):
    """The generator takes back each line of the unit that needs one, and nothing else."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "unshare").write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    (programs / "unshare").chmod(0o755)
    taken = generated(tmp_path / "without", f"{programs}:/usr/bin:/bin")["10-no-user-namespaces.conf"]
    unit = pathlib.Path(units("user")[0]).read_text(encoding="utf-8")
    sandbox = unit.partition("# The sandbox is")[2].partition("# What needs no privileges.")[0]
    needing = set(re.findall(r"^([A-Z]\w+)=", sandbox, re.MULTILINE)) - {"ExecStartPre", "KeyringMode", "RestrictNamespaces"}
    assert set(re.findall(r"^([A-Z]\w+)=", taken, re.MULTILINE)) == needing
    (programs / "unshare").write_text("#!/bin/sh\n[ \"$*\" = '--user --mount true' ]\n", encoding="ascii")
    assert generated(tmp_path / "with", f"{programs}:/usr/bin:/bin") == {}
    elsewhere = generated(tmp_path / "elsewhere", f"{programs}:/usr/bin:/bin", XDG_STATE_HOME="/srv/state")
    assert "BindPaths=-/srv/state/jami-connd\n" in elsewhere["10-state.conf"]
    assert generated(tmp_path / "odd", f"{programs}:/usr/bin:/bin", XDG_STATE_HOME="/srv/a b\nc") == {}


# ---- built to be attacked ----


@pytest.mark.parametrize("program", [DAEMON, CTL], ids=["jami-connd", "jami-connctl"])
def test_fault_i_programs_are_hardened(program):
    need("readelf")
    lacking = lacks(program)
    assert not lacking, f"{program} lacks {', '.join(lacking)}"


# Of one setting the last word counts: of those for the compiler in the line that compiles, of the others in that which links.
LINKED = ("RELRO", "BIND_NOW", "stack", "linked as PIE")
SETTINGS = {"stack protector": r"-f(?:no-)?stack-protector\S*", "FORTIFY_SOURCE": r"-[DU]_FORTIFY_SOURCE\S*", "PIE": r"-f(?:no-)?PI[EC]\b",
            "stack clash": r"-f(?:no-)?stack-clash-protection", "CET": r"-fcf-protection\S*|-mbranch-protection\S*",
            "assertions": r"-[DU]_GLIBCXX_ASSERTIONS", "RELRO": r"(?<=-z,)(?:no)?relro", "BIND_NOW": r"(?<=-z,)(?:now|lazy)",
            "stack": r"(?<=-z,)(?:no)?execstack", "linked as PIE": r"(?<= )-(?:no-)?pie(?= )"}


def hardening_of(build):
    """What the daemon's compiler and linker are told, by setting."""
    told = [line for line in output("ninja", "-C", build, "-t", "commands", "daemon/jami-connd").splitlines() if "jami-connd.dir" in line]
    compiled, linked = (next(line for line in told if (" -c " in line) == compiling) for compiling in (True, False))
    found = {name: re.findall(pattern, linked if name in LINKED else compiled) for name, pattern in SETTINGS.items()}
    return {name: words[-1] for name, words in found.items() if words}


def test_fault_i_package_and_build_are_hardened_alike(tmp_path):
    """The package is configured as debhelper does it, with Debian's own flags before ours."""
    for program in ("dpkg-buildflags", "cmake", "ninja"):
        need(program)
    wanted = re.search(r"^export DEB_BUILD_MAINT_OPTIONS = (.*)", (ROOT / "packaging/debian/rules").read_text(encoding="utf-8"), re.MULTILINE).group(1)
    flags = dict(line.split("=", 1) for line in output("dpkg-buildflags", env=os.environ | {"DEB_BUILD_MAINT_OPTIONS": wanted}).splitlines())
    subprocess.run(["cmake", "-S", ROOT, "-B", tmp_path / "package", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCONND_TESTS=OFF",
                    f"-DCMAKE_CXX_FLAGS={flags['CXXFLAGS']} {flags['CPPFLAGS']}", f"-DCMAKE_EXE_LINKER_FLAGS={flags['LDFLAGS']}"],
                   check=True, capture_output=True)
    subprocess.run(["cmake", "-S", ROOT, "-B", tmp_path / "release", "--preset", "release", "-DCONND_TESTS=OFF"], check=True, capture_output=True, cwd=ROOT)
    package, release = hardening_of(tmp_path / "package"), hardening_of(tmp_path / "release")
    for name in SETTINGS:
        print(f"{name:16} cmake: {release.get(name, '-'):28} package: {package.get(name, '-')}")
    assert package == release
    assert set(release) == set(SETTINGS)
