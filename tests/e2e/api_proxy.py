# SPDX-License-Identifier: GPL-3.0-or-later
"""Between a program and its daemon: what both say over the control socket goes on as it is, with its descriptors, and is
held to the schema (api_schema.py)."""
import array
import json
import os
import select
import socket
import threading

from api_schema import SCHEMA_OF_ALL, Checked, SchemaError

MAX_FDS = 253  # linux: SCM_MAX_FD
CHUNK = 1 << 16


class ApiProxy:
    """Listens at `path`, and joins each client to the daemon at `daemon_path`. `problems` and `methods` grow."""

    def __init__(self, path, daemon_path):
        self.path, self.daemon_path = path, daemon_path
        self.problems = []
        self.methods = set()  # of requests and notifications
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.path)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            daemon = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                daemon.connect(self.daemon_path)
            except OSError:
                client.close()
                daemon.close()
                continue
            checked = Checked(SCHEMA_OF_ALL)
            ways = [(client, daemon, checked.sent), (daemon, client, checked.received)]
            threads = [threading.Thread(target=self._relay, args=way, daemon=True) for way in ways]
            threading.Thread(target=self._join, args=(threads, client, daemon), daemon=True).start()

    @staticmethod
    def _join(threads, *ends):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for end in ends:
            end.close()

    def _relay(self, source, target, look):
        rest = b""
        try:
            while True:
                data, fds = receive(source)
                if not data:
                    if not gone(source):  # it only says no more
                        return target.shutdown(socket.SHUT_WR)
                    break
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._look(look, line)
                send(target, data, fds)
        except OSError:
            pass  # one of them is gone
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _look(self, look, line):
        try:
            message = json.loads(line)
            self.methods.add(message.get("method"))
            look(message)
        except (SchemaError, ValueError) as error:
            self.problems.append(f"{error}: {line[:500]!r}")


def gone(end):
    """Whether its peer has closed both directions."""
    poll = select.poll()
    poll.register(end, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def receive(source):
    """Bytes and the descriptors that came with them; no bytes: the end."""
    data, ancillary, flags, _ = source.recvmsg(CHUNK, socket.CMSG_SPACE(MAX_FDS * 4))
    assert not flags & socket.MSG_CTRUNC
    fds = array.array("i")
    for level, kind, body in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(body[: len(body) - len(body) % fds.itemsize])
    return data, list(fds)


def send(target, data, fds):
    try:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = target.sendmsg([data], rights)
        target.sendall(data[sent:])
    finally:
        for fd in fds:
            os.close(fd)
