#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the sources and says where they break the rules of the layout: who may include whom, which folders there are,
SPDX lines, and words that do not belong into a product.

usage: check_includes.py [--self-test] [ROOT]
"""
import pathlib
import re
import subprocess
import sys

TOP = {"CMakeLists.txt", "CMakePresets.json", "daemon", "ipc", "proto", "tools", "tests", "packaging", "systemd", "README.md"}
SOURCES = {".h", ".cpp", ".py", ".sh", ".txt"}

# Of proto/, what ipc/ may use: apps link ipc/ alone, under its own licence.
PROTO_FOR_IPC = {"proto/result.h", "proto/bytes.h", "proto/reason.h", "proto/utf8.h"}
# What each folder may include of the project, and which libraries' headers (by their first part).
FOLDERS = {
    # arpa and netinet: for inet_pton, text to address; sockets are in <sys>.
    "proto": ({"proto"}, {"msgpack.hpp", "msgpack", "openssl", "arpa", "netinet"}),
    "ipc": ({"ipc"}, {"nlohmann"}),
    # msgpack and SHA-256 for files (tools/FILES.md): nothing of TLS, which is the daemon's.
    "tools": ({"tools", "ipc"}, {"CLI", "nlohmann", "msgpack.hpp", "openssl/evp.h"}),
    # The bench's yardstick is TLS of its own, so that a change in proto/ never moves what it is measured against.
    "tools/bench": ({"tools", "ipc"}, {"CLI", "nlohmann", "openssl"}),
    # As strangers see the library: installed.
    "tools/examples": (set(), {"jami-connd"}),
    "tests": ({"daemon", "proto", "ipc", "tools", "tests"}, None),
}
# The rooms of the daemon, from the ground up: each may include those that stand before it (daemon/README.md), and these
# libraries' headers. What says something has spdlog; what only carries bytes or turns has not.
ROOMS = {
    "event_loop": {"uv.h", "glib.h"},
    "system": {"nlohmann", "openssl/crypto.h", "spdlog", "systemd"},
    "settings": {"CLI"},
    "trust": {"nlohmann", "spdlog"},
    "dht": {"opendht", "opendht.h"},
    "ice": {"nice"},
    "path": set(),
    "link": set(),
    "connection": {"nlohmann", "openssl/crypto.h", "spdlog"},
    "local_api": {"nlohmann", "spdlog", "systemd"},
    "service": {"nlohmann", "spdlog"},
}
for number, (room, libraries) in enumerate(ROOMS.items()):
    below = {f"daemon/{one}" for one in list(ROOMS)[:number + 1]}
    FOLDERS[f"daemon/{room}"] = ({"proto", "ipc"} | below, libraries)
# Libraries that do I/O, tell the time or make threads have no place in the sans-IO core.
NOT_IN_PROTO = {"sys", "unistd.h", "fcntl.h", "poll.h", "netdb.h", "net", "thread", "mutex", "fstream", "iostream", "filesystem",
                "condition_variable", "future", "cstdio"}
# Headers that cost every file that sees them seconds of compiling (fault E12): in no header, but in these few, which few
# files include. Of the tests, the library of junk_peers and load_peers.
HEAVY = {"CLI", "opendht", "opendht.h"}
HEAVY_IN = {"daemon/dht/dht_setup.h", "daemon/dht/dht_node.h", "daemon/dht/dht_socket.h"}
POSIX = {"sys", "unistd.h", "fcntl.h", "poll.h", "netdb.h", "arpa", "net", "netinet", "pwd.h", "grp.h", "signal.h", "spawn.h", "malloc.h", "sched.h",
         "linux", "ifaddrs.h", "dirent.h", "errno.h", "termios.h", "stdlib.h", "limits.h"}
STANDARD = re.compile(r"^[a-z_0-9]+$")
CLOCK = re.compile(r"_clock::now\(\)")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
MIT = "SPDX-License-Identifier: GPL-3.0-or-later OR MIT"
GPL = "SPDX-License-Identifier: GPL-3.0-or-later"


def rules_for(path):
    """The entry of FOLDERS that a file comes under: the longest that it is in."""
    return next((folder for folder in ("/".join(path.parts[:2]), path.parts[0]) if folder in FOLDERS), None)


def include_problem(folder, kind, name):
    """What is wrong with this include in this folder, or None."""
    own, libraries = FOLDERS[folder]
    first = name.split("/")[0]
    if kind == '"':
        if "/" not in name:
            return "own headers are included as \"folder/file.h\""
        if name in PROTO_FOR_IPC and folder in ("ipc", "tools", "tools/bench"):
            return None
        if folder == "tests" and first not in own:
            return "no such folder"
        room = "/".join(name.split("/")[:2])
        return None if first in own or room in own else f"{folder}/ may not include {room if first == 'daemon' else first}/"
    if folder == "tests":
        return None
    if first in FOLDERS or first == "daemon":
        return "own headers are included with quotes"
    if folder == "proto" and first in NOT_IN_PROTO:
        return "proto/ does no I/O and has no thread"
    if first in libraries or name in libraries or STANDARD.match(name) or (folder != "proto" and first in POSIX):
        return None
    return f"{folder}/ may not use <{name}>"


def is_heavy(path, kind, name):
    heavy = kind == "<" and name.split("/")[0] in HEAVY
    return heavy and path.suffix == ".h" and path.parts[0] != "tests" and path.as_posix() not in HEAVY_IN


def check_source(path, text):
    """Problems of one file; `path` is relative to the root."""
    folder = path.parts[0]
    lines = text.splitlines()
    out = []
    wanted = MIT if folder == "ipc" or path.parts[:2] == ("tools", "examples") else GPL
    if wanted not in "\n".join(lines[:3]):
        out.append(f"{path}: no line '{wanted}' at the top")
    for number, line in enumerate(lines, 1):
        if path.suffix in (".h", ".cpp"):
            found = INCLUDE.match(line)
            rules = rules_for(path)
            problem = found and (include_problem(rules, *found.groups()) if rules else "not in one of the daemon's rooms")
            if problem:
                out.append(f"{path}:{number}: {problem}")
            if found and is_heavy(path, *found.groups()):
                out.append(f"{path}:{number}: declare what is needed of it; files that include <{found[2]}> take seconds more")
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line) and path.name != "check_includes.py":
            out.append(f"{path}:{number}: finish it, or say it in an issue")
        if folder == "proto" and CLOCK.search(line):
            out.append(f"{path}:{number}: time is an argument in proto/")
    if path.suffix in (".h", ".cpp") and len(lines) > 800:
        out.append(f"{path}: {len(lines)} lines; 800 is the end")
    return out


def tracked(root):
    out = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=False, capture_output=True)
    if out.returncode == 0:
        return [pathlib.PurePath(name) for name in out.stdout.decode().split("\0") if name]
    # A source archive has no repository: all that is there, but what builds make.
    return [path.relative_to(root) for path in pathlib.Path(root).rglob("*")
            if path.is_file() and path.relative_to(root).parts[0] not in ("build", ".git")]


def check_tree(root):
    out = []
    for path in tracked(root):
        top = path.parts[0]
        if top not in TOP and not top.startswith(".") and not top.startswith("LICENSE"):
            out.append(f"{path}: not one of the project's folders (SPEC section 8)")
            continue
        full = pathlib.Path(root) / path
        is_source = path.suffix in SOURCES and (top in FOLDERS or top == "daemon") and "corpus" not in path.parts and "vectors" not in path.parts
        if is_source and full.exists():
            out += check_source(path, full.read_text(encoding="utf-8"))
    return out


def self_test():
    """The rules themselves: what must be found is found, and nothing else."""
    bad = [("proto", '"', "ipc/fd.h"), ("proto", "<", "uv.h"), ("proto", "<", "sys/socket.h"), ("proto", "<", "thread"),
           ("ipc", '"', "proto/mux.h"), ("ipc", '"', "daemon/event_loop/loop.h"), ("ipc", "<", "uv.h"), ("tools", '"', "daemon/event_loop/loop.h"),
           ("tools", '"', "proto/mux.h"), ("tools", "<", "openssl/ssl.h"), ("tools/bench", '"', "proto/mux.h"), ("tools/examples", '"', "ipc/client.h"), ("daemon/dht", '"', "tools/x.h"), ("daemon/dht", '"', "loop.h"),
           ("daemon/dht", "<", "proto/mux.h"), ("daemon/dht", '"', "daemon/connection/x.h"), ("daemon/link", "<", "spdlog/spdlog.h"),
           ("daemon/connection", "<", "opendht.h"), ("daemon/connection", "<", "nice/agent.h"), ("tests", '"', "elsewhere/x.h")]
    good = [("proto", '"', "proto/mux.h"), ("proto", "<", "openssl/ssl.h"), ("proto", "<", "vector"), ("ipc", '"', "proto/result.h"),
            ("ipc", "<", "sys/socket.h"), ("ipc", "<", "nlohmann/json.hpp"), ("tools", '"', "ipc/client.h"), ("tools", "<", "unistd.h"),
            ("tools", "<", "openssl/evp.h"), ("tools/bench", "<", "openssl/ssl.h"), ("tools/examples", "<", "jami-connd/ipc/client.h"),
            ("daemon/trust", '"', "ipc/fd.h"), ("daemon/ice", "<", "nice/agent.h"), ("daemon/link", '"', "daemon/ice/ice_agent.h"), ("tests", '"', "daemon/event_loop/loop.h"), ("tests", "<", "uv.h")]
    for case in bad:
        assert include_problem(*case), f"not found: {case}"
    for case in good:
        assert not include_problem(*case), f"wrongly found: {case}"
    assert rules_for(pathlib.PurePath("tools/bench/x.h")) == "tools/bench"
    assert rules_for(pathlib.PurePath("tools/x.h")) == rules_for(pathlib.PurePath("tools/other/x.h")) == "tools"
    assert rules_for(pathlib.PurePath("daemon/dht/x.h")) == "daemon/dht" and rules_for(pathlib.PurePath("daemon/x.h")) is None
    assert is_heavy(pathlib.PurePath("tools/x.h"), "<", "CLI/CLI.hpp")
    assert not is_heavy(pathlib.PurePath("tools/x.cpp"), "<", "CLI/CLI.hpp")
    assert is_heavy(pathlib.PurePath("daemon/x.h"), "<", "opendht.h")
    assert not is_heavy(pathlib.PurePath("daemon/dht/dht_setup.h"), "<", "opendht.h")
    here = pathlib.PurePath("proto/x.h")
    assert check_source(here, f"// {GPL}\nint x;\n") == []
    example = pathlib.PurePath("tools/examples/x.cpp")
    assert check_source(example, f"// {MIT}\n") == [] and len(check_source(example, f"// {GPL}\n")) == 1
    for text in ("int x;\n", f"// {GPL}\n// TODO\n", f"// {GPL}\nauto t = std::chrono::steady_clock::now();\n",
                 f'// {GPL}\n  #  include "ipc/fd.h"\n'):
        assert len(check_source(here, text)) == 1, text


def main():
    arguments = sys.argv[1:]
    if "--self-test" in arguments:
        self_test()
        arguments.remove("--self-test")
    root = arguments[0] if arguments else str(pathlib.Path(__file__).resolve().parents[1])
    problems = check_tree(root)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
