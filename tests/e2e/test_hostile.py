# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon makes of a peer that does everything wrong: on real DHT, ICE and TLS. In the matrix: A8, A9, B11, B12,
B14, D5, F3, F4."""
import threading
import time

import pytest
from api_client import ApiError
from harness import SANITIZER, SCALE, Late, identity, until
from hostile import (
    CERTIFICATES, HELLO, HOSTILE, MAX_GROWTH, OWN, Hostile, bad_identity, connected, control, device_of, frame, numbers,
    pack, request,
)
from traffic import round_trip, subscribed

# Seconds that a channel of another connection may wait meanwhile: far more than its turns take, far less than a flood.
MAX_ROUND_TRIP = 1.0

# ---- certificates and keys ----


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_f3_bad_certificate_is_refused_with_its_reason(nodes, shared_lab, kind):
    alice, _ = nodes
    state = shared_lab.directory / f"bad-{kind}"
    device = bad_identity(kind, state)
    alice.api.call("trust.allow", id=device)
    events = alice.client("events")
    events.call("events.subscribe")
    # OpenDHT itself does not read a chain that is none: such a peer can only present it.
    on_dht = state / "good" if kind == "broken-chain" else state
    hostile = Hostile(shared_lab, on_dht, state)
    # It calls: refused in TLS, and told so by an alert.
    hostile.knows(alice).say("call", next(numbers)).expect("path")
    hostile.say("tls")
    failed = events.event("connection.failed", peer=device)
    assert failed["reason"] == "bad-certificate" and CERTIFICATES[kind] in failed["detail"], failed
    assert "certificate" in hostile.expect("down")
    if kind == "broken-chain":
        return hostile.end()
    # We call: anybody may have put what is on the DHT, so it is what the device shows that is refused.
    hostile.say("answer").expect("answering")
    opening = alice.api.send("channel.open", peer=device, uri="x", timeout=20 * SCALE)
    hostile.expect("path")
    hostile.say("tls")
    with pytest.raises(ApiError) as refused:
        alice.api.reply(opening)
    assert refused.value.reason == "bad-certificate" and CERTIFICATES[kind] in refused.value.detail
    events.sync()
    assert not events.taken("event", type="connection.connected")
    hostile.end()


def test_f4_another_key_in_tls_than_signed_the_request(nodes, shared_lab):
    alice, _ = nodes
    device = device_of(shared_lab, HOSTILE)
    for name, number in (("signs", HOSTILE), ("presents", HOSTILE + 1)):
        if not (shared_lab.directory / name).exists():
            identity(number, shared_lab.directory / name)
    alice.api.call("trust.allow", id=device)
    events = alice.client("events")
    events.call("events.subscribe")
    hostile = Hostile(shared_lab, shared_lab.directory / "signs", shared_lab.directory / "presents")
    hostile.knows(alice).say("call", next(numbers)).expect("path")
    hostile.say("tls")
    failed = events.event("connection.failed", peer=device)
    assert failed["reason"] == "bad-certificate" and "not the expected device's" in failed["detail"]
    # And than the one that was dialled.
    hostile.say("answer").expect("answering")
    opening = alice.api.send("channel.open", peer=device, uri="x", timeout=20 * SCALE)
    hostile.expect("path")
    hostile.say("tls")
    with pytest.raises(ApiError) as refused:
        alice.api.reply(opening)
    assert refused.value.reason == "bad-certificate" and "not the expected device's" in refused.value.detail
    hostile.end()


# ---- requests and answers ----


def test_a8_replayed_request_is_handled_once_after_a_restart_too(lab):
    alice = lab.node("alice").start()
    device = device_of(lab, HOSTILE)
    alice.api.call("trust.allow", id=device)
    hostile = Hostile.good(lab, HOSTILE)
    first = subscribed(alice)
    connected(hostile, alice, first, device)
    # It came under both of her keys.
    until(lambda: alice.status()["metrics"]["dht_requests_received"] >= 2, 30 * SCALE, "the request came twice")
    first.sync()
    assert len(first.taken("event", type="connection.connecting")) == 1

    def replay():
        """The same request again, which alice has got: nothing comes of it."""
        events = subscribed(alice)
        before = alice.status()["metrics"]["dht_requests_received"]
        hostile.say("again").expect("put")
        # Under both of her keys.
        until(lambda: alice.status()["metrics"]["dht_requests_received"] >= before + 2, 30 * SCALE, "the replay came")
        events.sync()
        assert not events.taken("event", type="connection.connecting")

    replay()
    alice.stop()
    alice.start()
    replay()
    # A new request is no replay.
    hostile.say("call", next(numbers)).expect("path")
    hostile.end()


def test_a9_answers_that_nobody_asked_for(attacked, tmp_path):
    alice, hostile, device, events = attacked
    text = tmp_path / "ice"
    text.write_text("ufrag\n0123456789012345678901\n1 1 TCP 2130706431 10.77.0.1 9 typ host tcptype active\n")
    hostile.knows(alice)
    before = alice.status()["metrics"]["dht_requests_received"]
    hostile.say("forge", next(numbers), text).expect("put")
    until(lambda: alice.status()["metrics"]["dht_requests_received"] > before, 30 * SCALE, "the answer came")
    # While she awaits one: of another id than hers it is none.
    opening = alice.api.send("channel.open", peer=device, uri="x", timeout=5 * SCALE)
    events.event("connection.progress", state="offered", peer=device)
    hostile.say("forge", next(numbers), text).expect("put")
    with pytest.raises(ApiError) as failed:
        alice.api.reply(opening)
    assert failed.value.reason == "no-answer-or-refused"
    events.sync()
    assert not events.taken("event", type="connection.progress", state="checking", peer=device)


# ---- frames ----

ENDS = {
    "data for an id that is not in use": HELLO + frame(OWN + 9, b"x"),
    "an end for an id that is not in use": HELLO + frame(OWN + 9),
    "an empty control frame": HELLO + frame(0),
    "a frame of the reserved id": HELLO + frame(0xFFFF, b"x"),
    "control bytes that are no objects": HELLO + frame(0, b"\xc1\xc1"),
    "half an object": HELLO + frame(0, pack({"t": "ping", "n": 1})[:-1]),
    "a request of the wrong shape": HELLO + frame(0, pack(["a", 1])),
    "a second hello": HELLO + HELLO,
    "a request before hello": request("echo", OWN),
    "data before hello": frame(OWN, b"x"),
    "a map without t": HELLO + frame(0, pack({"n": 1})),
    "nesting of five": HELLO + frame(0, bytes.fromhex("82a174a3666f6fa1789191919107")),
    "hello of version 0": control({"t": "hello", "v": 0, "max_channels": 1, "max_name": 1}),
}


@pytest.mark.parametrize("what", ENDS)
def test_b12_frames_that_end_the_connection(attacked, what):
    alice, hostile, device, events = attacked
    connected(hostile, alice, events, device, hello=False)
    hostile.plain(ENDS[what])
    ended = events.wait("event", 20 * SCALE, type="connection.closed" if ENDS[what].startswith(HELLO) else "connection.failed",
                        peer=device)[0]
    assert ended["reason"] == "protocol-error" and ended["detail"], ended
    assert "closed" in hostile.expect("down")


IGNORED = {
    "an accept": control(["x", OWN + 5, True]),
    "a refusal": control({"t": "refuse", "c": OWN + 5, "code": 5, "text": ""}),
    "a reset": control({"t": "reset", "c": OWN + 5, "code": 13, "text": ""}),
    "credit": control({"t": "window", "c": OWN + 5, "n": 1}),
    "a pong": control({"t": "pong", "n": 9}),
    "an unknown map": control({"t": "later", "x": {"y": 1}}),
}


def test_b12_objects_that_are_ignored(attacked):
    alice, hostile, device, events = attacked
    connected(hostile, alice, events, device)
    hostile.answers()  # its hello is before this
    for what, sent in IGNORED.items():
        hostile.plain(sent + control({"t": "ping", "n": 42}))
        assert hostile.expect_plain(pack({"t": "pong", "n": 42})) == control({"t": "pong", "n": 42}), what


RESETS = {
    "data after the end": frame(OWN) + frame(OWN, b"late"),
    "two ends": frame(OWN) + frame(OWN),
    # More than the largest window and the kernel's buffers together.
    "more than the credit": frame(OWN, b"z" * 60_000) * 100,
    "credit of zero": control({"t": "window", "c": OWN, "n": 0}),
    "too much credit": control({"t": "window", "c": OWN, "n": 0x7FFFFFFF}),
}


@pytest.mark.parametrize("what", RESETS)
def test_d5_b12_what_resets_one_channel_alone(attacked, what):
    alice, hostile, device, events = attacked
    listener = alice.client("taker")
    listener.call("listen.add", uri="never read", peers="any")
    connected(hostile, alice, events, device)
    hostile.plain(request("never read", OWN) + request("echo", OWN + 1))
    hostile.expect_plain(pack(["echo", OWN + 1, True]))
    channel = listener.incoming()
    for at in range(0, len(RESETS[what]), 240_016):  # whole frames; TLS takes no more at once
        hostile.plain(RESETS[what][at : at + 240_016])
    hostile.expect_plain(pack({"t": "reset", "c": OWN, "code": 15})[1:])
    assert channel.end()["reason"] == "protocol-error"
    hostile.plain(frame(OWN + 1, b"unharmed"))
    hostile.expect_plain(frame(OWN + 1, b"unharmed"))


def test_b12_accept_of_another_name_ends_the_connection(attacked):
    alice, hostile, device, events = attacked
    connected(hostile, alice, events, device)
    opening = alice.api.send("channel.open", peer=device, uri="right", timeout=5 * SCALE)
    hostile.expect_plain(pack(["right", 1, False]))
    hostile.plain(control(["wrong", 1, True]))
    closed = events.event("connection.closed", 20 * SCALE, peer=device)
    assert closed["reason"] == "protocol-error" and "accept" in closed["detail"]
    with pytest.raises(ApiError):
        alice.api.reply(opening)


# ---- floods ----

FLOODS = {
    "pings": control(*[{"t": "ping", "n": n} for n in range(100)]),
    "unknown maps": control(*[{"t": "zzz", "n": n} for n in range(100)]),
    "windows": control(*[{"t": "window", "c": OWN, "n": 1} for n in range(100)]),
    "requests": control(*[["nobody listens", OWN + n, False] for n in range(100)]),
}


@pytest.mark.parametrize("what", FLOODS)
@pytest.mark.parametrize("reads", [True, False])
def test_b14_floods_end_the_connection_in_bounded_memory(attacked, nodes, what, reads):
    alice, hostile, device, events = attacked
    bob = nodes[1]
    connected(hostile, alice, events, device)
    rss = alice.forget_peak()
    hostile.say("quiet")
    if not reads:
        hostile.say("pause")
    # Ten times what the buckets hold.
    hostile.say("flood", 15_000, FLOODS[what].hex())
    with Beside(bob, alice) as beside:
        closed = events.event("connection.closed", 60 * SCALE, peer=device)
    assert closed["reason"] == "protocol-error", closed
    growth = alice.peak() - rss
    print(f"{what}: grew by {growth >> 10} KiB at most; {beside.count} round trips beside it, {beside.longest:.3f} s at most")
    assert SANITIZER or growth < MAX_GROWTH
    assert beside.longest < MAX_ROUND_TRIP * SCALE


class Beside(threading.Thread):
    """Round trips on a channel of another connection, for as long as this is entered: at least one."""

    def __init__(self, node, peer):
        super().__init__(daemon=True)
        self.client = node.client("beside")
        self.channel = self.client.open(peer.device, "echo")
        self.leave = threading.Event()
        self.count, self.longest, self.error = 0, 0.0, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.leave.set()
        self.join(60 * SCALE)
        self.channel.close()
        if kind is None and self.error:
            raise self.error

    def run(self):
        try:
            with Late() as late:
                while not self.count or not self.leave.is_set():
                    began = time.monotonic()
                    assert round_trip(self.channel, b"beside") == b"beside"
                    now = time.monotonic()
                    self.longest = max(self.longest, now - began - late.within(began, now))
                    self.count += 1
        except Exception as error:  # shown by the main thread
            self.error = error


@pytest.mark.parametrize("what", ["pings", "unknown maps", "requests"])
def test_b14_a_burst_is_no_flood(attacked, what):
    alice, hostile, device, events = attacked
    connected(hostile, alice, events, device)
    hostile.say("flood", 500, FLOODS[what].hex()).expect("sent")
    hostile.answers()
