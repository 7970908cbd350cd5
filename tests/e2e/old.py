# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of an earlier version, in the same laboratory."""
import pathlib
import re
import subprocess


def takes(daemon):
    """The options of a daemon."""
    shown = subprocess.run([daemon, "--help"], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"--[a-z][a-z-]+", shown))


class Unchecked:
    """In the place of api_schema.Checked: what it says is of its own time."""

    def sent(self, request):
        pass

    def received(self, message):
        pass


def older(node, daemon):
    """The node is one of that daemon, which may not know all options of today's, and says what it said then."""
    node.junk = True  # its gate, if it has one, is not judged
    client = node.client

    def unchecked(*arguments):
        made = client(*arguments)
        made.checked = Unchecked()
        return made

    node.client = unchecked
    known = takes(daemon)
    arguments = node.arguments

    def without_new():
        out = []
        words = iter(arguments()[1:])
        for word in words:
            if word.startswith("--") and word not in known:
                if word not in ("--debuggable", "--dht-keep-nothing"):
                    next(words)  # its value
                continue
            out.append(word)
        return [str(daemon), *out]

    node.arguments = without_new
    return node


def client_of(daemon):
    """The command line that was built with it."""
    return str(pathlib.Path(daemon).with_name("jami-connctl"))
