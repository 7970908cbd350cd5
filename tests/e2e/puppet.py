# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that is told what to do by lines on its standard input, and says by lines what happened."""
import os
import select
import signal
import subprocess

from harness import LIBC, PR_SET_PDEATHSIG, SCALE, Deadline, enter
from processes import PATIENCE


class Puppet:
    """Runs `command` in the lab's hub."""

    def __init__(self, lab, name, *command):
        hub = lab.hub

        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if hub:
                enter(hub)

        self.lab = lab
        self.name = name
        self.log = open(lab.directory / f"{name}.{len(lab.helpers)}", "wb")
        self.popen = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=self.log, preexec_fn=prepare, bufsize=0,
                                      env=os.environ | {"TMPDIR": str(lab.directory)})  # it may be killed: all goes with the lab
        lab.helpers.append(self.popen)
        self.buffer = b""
        self.lines = []

    def say(self, *words):
        self.popen.stdin.write((" ".join(str(word) for word in words) + "\n").encode())
        return self

    def _read(self, timeout):
        assert select.select([self.popen.stdout], [], [], timeout)[0], f"nothing more: {self.lines[-5:]}"
        data = os.read(self.popen.stdout.fileno(), 1 << 20)
        assert data, f"{self.name} has ended"
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        self.lines += [line.decode() for line in lines]

    def expect(self, start, timeout=40 * SCALE):
        """Waits for a line that begins so, and takes it; what is behind that beginning."""
        deadline = Deadline(max(timeout, PATIENCE))
        while True:
            for index, line in enumerate(self.lines):
                if line.startswith(start):
                    del self.lines[index]
                    return line[len(start) :].strip()
            assert not deadline.passed(), f"no '{start}': {[line[:100] for line in self.lines[-8:]]}"
            self._read(deadline.left())

    def end(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self.log.close()
