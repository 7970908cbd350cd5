# SPDX-License-Identifier: GPL-3.0-or-later
"""Fault C9: channels for languages that cannot receive a descriptor: a one-time token, and a connection that becomes the channel."""
import json
import shutil
import socket
import subprocess

import pytest
from harness import FULL, SCALE, ApiError
from traffic import Echo

NODE = r"""
const net = require("net"), [, path, peer] = process.argv
async function* linesOf(socket) {
  let kept = ""
  for await (const data of socket) {
    kept += data
    for (let at; (at = kept.indexOf("\n")) >= 0; kept = kept.slice(at + 1)) yield JSON.parse(kept.slice(0, at))
  }
}
const ask = (socket, id, method, params) => socket.write(JSON.stringify({jsonrpc: "2.0", id, method, params}) + "\n")
async function main() {
  const control = net.connect(path), lines = linesOf(control)
  ask(control, 1, "channel.open", {peer, uri: "echo node", attach: true})
  const {result} = (await lines.next()).value
  const channel = net.connect(path)
  ask(channel, 1, "channel.attach", {token: result.token})
  let answered = false, kept = Buffer.alloc(0)
  const echoed = await new Promise((done) => channel.on("data", (data) => {
    kept = Buffer.concat([kept, data])
    if (!answered && kept.includes(10)) {
      if (JSON.parse(kept.slice(0, kept.indexOf(10))).result.channel !== result.channel) throw new Error(kept)
      kept = kept.slice(kept.indexOf(10) + 1)
      answered = true
      channel.end(Buffer.alloc(3000000, "from node "))
    }
    if (answered && kept.length >= 3000000) done(kept)
  }))
  const closed = (await lines.next()).value
  console.log(JSON.stringify({equal: echoed.equals(Buffer.alloc(3000000, "from node ")), closed}))
  control.destroy()
}
main()
"""


class Plain:
    """A control connection without recvmsg: what any language can do."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20 * SCALE)
        self.sock.connect(path)
        self.kept = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def line(self):
        while b"\n" not in self.kept:
            data = self.sock.recv(65_536)
            assert data, "the daemon has closed"
            self.kept += data
        line, self.kept = self.kept.split(b"\n", 1)
        return json.loads(line)

    def call(self, method, **params):
        self.sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        answer = self.line()
        if "error" in answer:
            raise ApiError(answer["error"])
        return answer["result"]

    def receive(self, count):
        while len(self.kept) < count:
            data = self.sock.recv(65_536)
            assert data, "the end came first"
            self.kept += data
        data, self.kept = self.kept[:count], self.kept[count:]
        return data

    def attach(self, token):
        return self.call("channel.attach", token=token)["channel"]


def refused(call):
    with pytest.raises(ApiError) as error:
        call()
    return error.value.reason


def test_fault_c9_node_has_a_channel(pair):
    alice, bob = pair
    node = shutil.which("node")
    if not node:
        pytest.skip("needs node")
    with Echo(bob):
        done = subprocess.run([node, "-e", NODE, "--", alice.socket_path, bob.device], capture_output=True, text=True,
                              timeout=60 * SCALE, check=True)
    told = json.loads(done.stdout)
    assert told["equal"] and told["closed"]["method"] == "channel.closed", told
    assert told["closed"]["params"]["reason"] == "closed", told


def test_fault_c9_both_ends_by_token(pair):
    """No descriptor anywhere: an opener and a listener, data both ways before and after, and the end told to the owners."""
    alice, bob = pair
    with Plain(alice.socket_path) as opener, Plain(bob.socket_path) as listener, \
            Plain(alice.socket_path) as here, Plain(bob.socket_path) as there:
        listener.call("listen.add", uri="c9", strict_end=True, attach=True)
        opened = opener.call("channel.open", peer=bob.device, uri="c9", strict_end=True, attach=True)
        assert "fds" not in opened and len(opened["token"]) == 32
        note = listener.line()
        assert note["method"] == "channel.opened" and "fds" not in note["params"], note
        assert here.call("hello", client="plain")["server"] == "jami-connd"
        assert here.attach(opened["token"]) == opened["channel"]
        here.sock.sendall(b"early " * 10_000)  # is kept until the other end attaches
        assert there.attach(note["params"]["token"]) == note["params"]["channel"]
        assert there.receive(60_000) == b"early " * 10_000
        there.sock.sendall(b"back")
        assert here.receive(4) == b"back"
        opener.call("channel.finish", channel=opened["channel"])
        assert there.sock.recv(1) == b""
        listener.call("channel.finish", channel=note["params"]["channel"])
        assert here.sock.recv(1) == b""
        for owner, ended in (opener, opened["channel"]), (listener, note["params"]["channel"]):
            closed = owner.line()
            assert closed["method"] == "channel.closed" and closed["params"]["channel"] == ended, closed
            assert closed["params"]["reason"] == "closed", closed


def test_fault_c9_a_token_is_good_once_and_for_a_fresh_connection(pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="c9 once")
    with Plain(alice.socket_path) as opener, Plain(alice.socket_path) as busy, Plain(alice.socket_path) as here:
        busy.call("listen.add", uri="c9 busy")
        opened = opener.call("channel.open", peer=bob.device, uri="c9 once", strict_end=True, attach=True)
        channel = bob.api.incoming(uri="c9 once")
        assert refused(lambda: busy.attach(opened["token"])) == "invalid-argument"
        assert refused(lambda: opener.attach(opened["token"])) == "invalid-argument"
        assert refused(lambda: here.attach("0" * 32)) == "not-found"
        assert here.attach(opened["token"]) == opened["channel"]
        channel.send(b"it is there")
        assert here.receive(11) == b"it is there"
        with Plain(alice.socket_path) as again:
            assert refused(lambda: again.attach(opened["token"])) == "not-found"
        # A socket that breaks is a channel that ends, not a client that goes.
        here.sock.close()
        assert opener.line()["params"]["channel"] == opened["channel"]
        channel.close()
        # The owner's end is the token's.
        second = opener.call("channel.open", peer=bob.device, uri="c9 once", strict_end=True, attach=True)
        channel = bob.api.incoming(uri="c9 once")
        opener.sock.close()
        assert channel.end(20 * SCALE)["reason"] == "reset"
        with Plain(alice.socket_path) as late:
            assert refused(lambda: late.attach(second["token"])) == "not-found"


@pytest.mark.skipif(not FULL, reason="waits for 10 s")
def test_fault_c9_nobody_attaches(pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="c9 nobody")
    with Plain(alice.socket_path) as opener:
        opened = opener.call("channel.open", peer=bob.device, uri="c9 nobody", attach=True)
        channel = bob.api.incoming(uri="c9 nobody")
        closed = opener.line()["params"]
        assert closed["channel"] == opened["channel"] and closed["reason"] == "cancelled", closed
        assert channel.end(20 * SCALE)["reason"] == "reset"
