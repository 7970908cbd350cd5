# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of the local API, written from ipc/PROTOCOL.md alone: it checks the document as much as the daemon.

One thread per Client: whoever waits reads what comes, hands replies to their requests and keeps notifications until
somebody asks for them. Every wait has a deadline; none polls.
"""
import array
import contextlib
import json
import os
import select
import socket
import time
import weakref

from api_schema import SCHEMA_OF_ALL, Checked

# PROTOCOL.md section 4: at most 64 fds are on their way to one client.
MAX_FDS = 64
# Not socket.recv_fds: before Python 3.12 it forgets the flags that it was given.
FD_SPACE = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
READ_BYTES = 1 << 18
# Every wait is at least so long: its limit is there against a hang, not to test how fast something is.
PATIENCE = 60.0
DEFAULT_TIMEOUT = PATIENCE


class ApiError(Exception):
    """An error reply. `reason` is the word of the table in PROTOCOL.md section 6."""

    def __init__(self, error):
        self.code = error["code"]
        self.data = error.get("data") or {}
        self.reason = self.data.get("reason")
        self.detail = self.data.get("detail", "")
        super().__init__(f"{self.reason} ({self.code}): {error['message']} {self.detail}")


def reason_of(call, *arguments, **options):
    """The reason with which a call fails."""
    try:
        result = call(*arguments, **options)
    except ApiError as error:
        return error.reason
    raise AssertionError(f"no error, but {result}")


class Deadline:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return max(0.0, self.end - time.monotonic())

    def passed(self):
        return time.monotonic() >= self.end


class Channel:
    """An open channel: `sock` is the app's end, a blocking stream socket."""

    def __init__(self, client, message, fd):
        self.client = client
        self.handle = message["channel"]
        self.device = message.get("device") or message.get("peer")
        self.account = message["account"]
        self.uri = message.get("uri")
        self.half_close = message["half_close"]
        self.sock = socket.socket(fileno=fd)
        client.channels.add(self)

    def send(self, data):
        self.sock.sendall(data)
        return self

    def receive(self, count, timeout=DEFAULT_TIMEOUT):
        """Exactly `count` bytes; what came before EOF if that is less."""
        self.sock.settimeout(max(timeout, PATIENCE))
        parts = []
        while count:
            part = self.sock.recv(min(count, 1 << 20))
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def receive_all(self, timeout=DEFAULT_TIMEOUT):
        """All until EOF."""
        return self.receive(1 << 62, timeout)

    def shut(self):
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def close(self):
        self.sock.close()

    def drop(self):
        """Closes it, in the middle of whatever another thread does with it."""
        with contextlib.suppress(OSError):  # closed, or ended
            self.sock.shutdown(socket.SHUT_RDWR)
        self.close()

    def finish(self):
        self.client.call("channel.finish", channel=self.handle)
        return self

    def end(self, timeout=DEFAULT_TIMEOUT):
        """The params of this channel's `channel.closed`."""
        return self.client.wait("channel.closed", timeout, channel=self.handle)[0]


class Client:
    def __init__(self, path, name="e2e"):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(path)
        self.sock.setblocking(False)
        self.buffer = bytearray()
        self.output = bytearray()
        self.fds = []
        self.channels = weakref.WeakSet()  # they outlive the client, as those of any app do
        self.replies = {}
        self.told = set()  # what comes but once: (method, channel)
        self.notes = []
        self.last_id = 0
        self.gone = False
        self.checked = Checked(SCHEMA_OF_ALL)
        self.hello = self.call("hello", client=name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    # ---- bytes ----

    def pump(self, timeout):
        """Reads and writes once, waiting at most `timeout` seconds for something to do."""
        if self.gone:
            raise ConnectionError("the daemon closed the control connection")
        poller = select.poll()
        poller.register(self.sock, select.POLLIN | (select.POLLOUT if self.output else 0))
        for _, mask in poller.poll(timeout * 1000):
            if mask & select.POLLOUT:
                self._write()
            if mask & ~select.POLLOUT:
                self._read()

    def _write(self):
        try:
            del self.output[: self.sock.send(self.output)]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.output.clear()  # what the daemon said before it closed can still be read

    def _read(self):
        try:
            data, ancillary, flags, _ = self.sock.recvmsg(READ_BYTES, FD_SPACE, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data, ancillary, flags = b"", [], 0
        for level, kind, content in ancillary:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            self.fds += array.array("i", content)
        if flags & socket.MSG_CTRUNC:
            self.gone = True
            raise ConnectionError("MSG_CTRUNC: fds were lost")
        if not data:
            self.gone = True
            return
        self.buffer += data
        *lines, rest = bytes(self.buffer).split(b"\n")
        self.buffer = bytearray(rest)
        for line in lines:
            self._take(json.loads(line))

    def _take(self, message):
        assert message["jsonrpc"] == "2.0", message
        self.checked.received(message)
        body = message.get("result") or message.get("params") or {}
        fd = None
        if body.get("fds"):
            assert body["fds"] == 1 and self.fds, f"fds without an fd: {message}"
            fd = self.fds.pop(0)
            assert not os.get_inheritable(fd), "not close-on-exec"
        if "method" in message:
            assert "id" not in message, message
            self._once(message["method"], message["params"])
            self.notes.append((message["method"], message["params"], fd))
        else:
            self.replies.setdefault(message["id"], []).append((message, fd))

    def _once(self, method, params):
        """A channel comes once, and ends once; its number is not used again."""
        if method not in ("channel.opened", "channel.closed"):
            return
        what = method, params["channel"]
        assert what not in self.told, f"reported twice: {method} {params}"
        self.told.add(what)

    # ---- calls ----

    def send(self, method, **params):
        """Sends a request without waiting; returns its id for `reply`."""
        self.last_id += 1
        self.send_line({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        return self.last_id

    def send_line(self, line):
        if isinstance(line, bytes):
            data = line
            self._note_raw(line)
        else:
            data = json.dumps(line).encode()
            self.checked.sent(line)
        self.output += data + b"\n"
        self._write()

    def _note_raw(self, line):
        """Bytes that may be no request at all."""
        try:
            self.checked.sent(json.loads(line))
        except ValueError:
            pass

    def message_for(self, request, timeout=DEFAULT_TIMEOUT):
        """The whole reply with this id (None: one that could not be attributed), and its fd."""
        timeout = max(timeout, PATIENCE)
        deadline = Deadline(timeout)
        while not self.replies.get(request):
            if deadline.passed():
                raise TimeoutError(f"no reply to request {request} in {timeout} s")
            self.pump(deadline.left())
        return self.replies[request].pop(0)

    def unanswered(self, request, seconds):
        """Reads for so long; whether this request has no reply then."""
        deadline = Deadline(seconds)
        while not deadline.passed():
            self.pump(deadline.left())
        return not self.replies.get(request)

    def reply(self, request, timeout=DEFAULT_TIMEOUT):
        message, fd = self.message_for(request, timeout)
        if "error" in message:
            raise ApiError(message["error"])
        return message["result"], fd

    def call(self, method, timeout_s=DEFAULT_TIMEOUT, **params):
        return self.reply(self.send(method, **params), timeout_s)[0]

    def open(self, peer, uri, timeout=30, strict_end=True, **params):
        return self.opened(self.send("channel.open", peer=peer, uri=uri, timeout=timeout, strict_end=strict_end, **params),
                           timeout + 10)

    def opened(self, request, timeout=DEFAULT_TIMEOUT):
        result, fd = self.reply(request, timeout)
        return Channel(self, result, fd) if fd is not None else result

    # ---- notifications ----

    def find(self, method, **members):
        """Takes the first kept notification of this method whose members are as given; None if there is none."""
        for index, (name, params, fd) in enumerate(self.notes):
            if name == method and all(params.get(key) == value for key, value in members.items()):
                del self.notes[index]
                return params, fd
        return None

    def wait(self, method, timeout=DEFAULT_TIMEOUT, **members):
        """Waits for such a notification; gives its params and fd."""
        timeout = max(timeout, PATIENCE)
        deadline = Deadline(timeout)
        while True:
            found = self.find(method, **members)
            if found:
                return found
            if deadline.passed():
                raise TimeoutError(f"no {method} {members} in {timeout} s; kept: {[n[:2] for n in self.notes][-5:]}")
            self.pump(deadline.left())

    def incoming(self, timeout=DEFAULT_TIMEOUT, **members):
        """The next channel of an "auto" listener."""
        params, fd = self.wait("channel.opened", timeout, **members)
        return Channel(self, params, fd)

    def event(self, kind, timeout=DEFAULT_TIMEOUT, **members):
        return self.wait("event", timeout, type=kind, **members)[0]

    def sync(self):
        """All that the daemon had to say before now has been read after this."""
        self.call("hello", client="sync")

    def wait_gone(self, timeout=DEFAULT_TIMEOUT):
        """Waits until the daemon has closed; what it said before is kept."""
        timeout = max(timeout, PATIENCE)
        deadline = Deadline(timeout)
        while not self.gone:
            if deadline.passed():
                raise TimeoutError(f"the daemon did not close the control connection in {timeout} s")
            self.pump(deadline.left())

    def taken(self, method, **members):
        """Takes all such notifications that have come."""
        out = []
        while True:
            found = self.find(method, **members)
            if not found:
                return out
            out.append(found[0])
