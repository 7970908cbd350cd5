# SPDX-License-Identifier: GPL-3.0-or-later
"""H: with Jami. Our daemon and Debian's jamid, on a DHT of their own."""
import json
import os
import re
import select
import signal
import statistics
import time

import pytest

import harness
from api_client import Channel, Deadline
from harness import ApiError, until

ROUNDS = harness.sized(5, 20, 50)
IDLE_SECONDS = 120

OPTIONS = (
    b"OPTIONS sip:jami SIP/2.0\r\n"
    b"Via: SIP/2.0/TLS 127.0.0.1:5060;branch=z9hG4bK%d\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: <sip:connd@localhost>;tag=%d\r\n"
    b"To: <sip:jami@localhost>\r\n"
    b"Call-ID: connd-%d\r\n"
    b"CSeq: 1 OPTIONS\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def ask_options(channel, number, shut=False):
    """Sends an OPTIONS request; the head of the answer. Requests of jamid's own that come before it are passed over."""
    channel.send(OPTIONS % (number, number, number))
    if shut:
        channel.shut()
    while True:
        head = read_head(channel)
        if head.startswith(b"SIP/2.0 "):
            return head


def read_head(channel):
    """The next message of SIP without its body."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = channel.receive(1)
        assert part, f"the channel ended behind {head!r}"
        head += part
    size = re.search(rb"Content-Length: *([0-9]+)", head, re.I)
    channel.receive(int(size[1]))
    return head


def invited(client, timeout=60):
    """The first `sip` channel by which something comes, and what comes; jamid may open a spare one."""
    deadline = Deadline(timeout)
    channels = []
    while not deadline.passed():
        found = client.find("channel.opened", uri="sip")
        if found:
            channels.append(Channel(client, *found))
            continue
        ready = select.select([client.sock, *(c.sock for c in channels)], [], [], deadline.left())[0]
        for channel in channels:
            if channel.sock in ready:
                return channel, read_head(channel)
        if client.sock in ready:
            client.pump(0)
    raise TimeoutError(f"no INVITE in {timeout} s, on {len(channels)} channels")


def pkt_lines(channel):
    """The lines of git's protocol up to a flush."""
    while True:
        head = channel.receive(4)
        assert len(head) == 4, f"the channel ended behind {head!r}"
        size = int(head, 16)
        if size == 0:
            return
        yield channel.receive(size - 4)


def median_ms(times):
    return statistics.median(times) * 1000


def close(alice, jami):
    alice.api.call("connection.close", peer=jami.device)
    until(lambda: not alice.connections(), 10, "no connection")


def test_h1_sip_is_accepted_and_echo_declined(both):
    alice, jami = both
    times, further = [], []
    for number in range(ROUNDS):
        started = time.monotonic()
        channel = alice.api.open(jami.account, "sip")
        times.append(time.monotonic() - started)
        assert channel.device == jami.device and channel.account == jami.account
        assert channel.half_close is False
        assert ask_options(channel, number).startswith(b"SIP/2.0 200 OK\r\n")
        with pytest.raises(ApiError) as refused:
            alice.api.open(jami.device, "echo")
        assert refused.value.reason == "declined"
        started = time.monotonic()
        second = alice.api.open(jami.device, "sip")
        further.append(time.monotonic() - started)
        assert len(alice.connections()) == 1
        for one in (channel, second):
            one.finish().close()
            assert one.end()["reason"] == "closed"
        close(alice, jami)
    print(f"\nour call to jamid: {len(times)} of {ROUNDS}; open to fd, median {median_ms(times):.0f} ms, "
          f"largest {max(times) * 1000:.0f} ms; a further channel, median {median_ms(further):.1f} ms")
    assert median_ms(times) < 1000 * harness.SCALE
    assert median_ms(further) < 60 * harness.SCALE


def test_h1_by_every_kind_of_id(both):
    alice, jami = both
    for peer, more in ((jami.short_device, {}), (jami.device, {}), (jami.account, {"device": jami.device})):
        channel = alice.api.open(peer, "sip", **more)
        assert channel.device == jami.device
        channel.close()
        close(alice, jami)
    for peer, more in (("0" * 40, {}), (jami.account, {"device": "ab" * 32})):
        with pytest.raises(ApiError) as missing:
            alice.api.open(peer, "sip", timeout=5, **more)
        assert missing.value.reason == "not-found"


def test_h2_jamid_calls_us(both):
    alice, jami = both
    jami.wait_can_call()
    alice.api.call("listen.add", uri="sip")
    calls = min(ROUNDS, 20)
    for number in range(calls):
        call = jami.ring(alice.account)
        channel, head = invited(alice.api)
        assert channel.device == jami.device and channel.account == jami.account
        assert channel.half_close is False
        assert head.startswith(b"INVITE sip")
        assert {c["direction"] for c in alice.connections()} == {"incoming"}
        # And back: it answers on the channel that it has opened.
        assert ask_options(channel, number).startswith(b"SIP/2.0 200 OK\r\n")
        jami.hang_up(call)
        channel.close()
        close(alice, jami)
    print(f"\njamid's call to us: {calls} of {calls}")


def test_h2_a_request_is_handled_once_over_a_restart_too(both):
    alice, jami = both
    jami.wait_can_call()
    alice.api.call("listen.add", uri="sip")
    call = jami.ring(alice.account)
    invited(alice.api)
    jami.hang_up(call)
    alice.stop()
    alice.start()
    # The DHT gives it the requests of the last ten minutes once more.
    until(lambda: alice.status()["metrics"]["dht_requests_received"] > 0, 30, "requests have come again")
    channel = alice.api.open(jami.account, "sip")
    assert ask_options(channel, 1).startswith(b"SIP/2.0 200 OK\r\n")
    (connection,) = alice.connections()
    assert connection["direction"] == "outgoing"
    assert set(re.findall(r"connection=(\d+) ", alice.process.log())) == {str(connection["connection"])}
    channel.close()


def test_h3_further_channels_and_refs_of_a_conversation(both):
    alice, jami = both
    conversation = jami.start_conversation()
    first = alice.api.open(jami.account, "sip")
    uri = f"git://{jami.device}/{conversation}"
    git = alice.api.open(jami.device, uri)
    line = f"git-upload-pack /{conversation}\0host={jami.device}\0".encode()
    git.send(b"%04x" % (len(line) + 4) + line)
    refs = b"".join(pkt_lines(git))
    assert b" refs/heads/main" in refs and b" HEAD" in refs
    assert len(alice.connections()) == 1
    assert ask_options(first, 1).startswith(b"SIP/2.0 200 OK")
    with pytest.raises(ApiError) as refused:
        alice.api.open(jami.device, f"git://{jami.device}/" + "0" * 40)
    assert refused.value.reason == "declined"


def test_h4_bans(both):
    alice, jami = both
    jami.ban(alice.account)
    with pytest.raises(ApiError) as refused:
        alice.api.open(jami.account, "sip", timeout=6)
    assert refused.value.reason == "no-answer-or-refused"
    jami.unban(alice.account)
    until(lambda: connects(alice, jami), 60, "jamid answers again")
    close(alice, jami)

    jami.wait_can_call()
    alice.api.call("trust.ban", id=jami.account, kind="account")
    try:
        alice.api.call("events.subscribe")
        call = jami.ring(alice.account)
        refusal = alice.api.event("request.refused", 60, peer=jami.device)
        jami.hang_up(call)
        assert refusal["reason"] == "banned"
        assert not alice.connections()
        with pytest.raises(ApiError) as banned:
            alice.api.open(jami.account, "sip")
        assert banned.value.reason == "banned"
    finally:
        alice.api.call("trust.allow", id=jami.account, kind="account")
    alice.api.open(jami.account, "sip").close()


def connects(alice, jami):
    try:
        alice.api.open(jami.account, "sip", timeout=6).close()
        return True
    except ApiError as error:
        assert error.reason == "no-answer-or-refused"
        return False


def test_h5_idle_for_two_minutes(both):
    alice, jami = both
    channel = alice.api.open(jami.account, "sip")
    with pytest.raises(TimeoutError):
        alice.api.wait("channel.closed", IDLE_SECONDS)
    assert ask_options(channel, 1).startswith(b"SIP/2.0 200 OK")
    (connection,) = alice.connections()
    assert connection["dialect"] == "jami"
    assert connection.get("rtt_ms") is not None, "it answers beacons"


def test_e1_a_frozen_jamid_is_dead_within_twice_the_interval(jami_lab, shared):
    _, jami = shared
    keepalive = 2
    bob = jami_lab.node("bob", "--keepalive", str(keepalive)).start()
    channel = bob.api.open(jami.account, "sip")
    until(lambda: bob.connections()[0].get("rtt_ms") is not None, 20 * harness.SCALE, "a beacon was answered")
    os.kill(jami.process.pid, signal.SIGSTOP)
    frozen = time.monotonic()
    try:
        assert channel.end(20 * harness.SCALE)["reason"] == "connection-lost"
        # Its last byte may have come a moment before; a loop turn, and this process, take theirs.
        assert time.monotonic() - frozen <= 2 * keepalive + 0.5 * harness.SCALE
    finally:
        os.kill(jami.process.pid, signal.SIGCONT)
    assert ask_options(bob.api.open(jami.account, "sip"), 1).startswith(b"SIP/2.0 200 OK")
    bob.stop()


def test_h6_the_end_of_writing_is_held_back(both):
    alice, jami = both
    channel = alice.api.open(jami.account, "sip", strict_end=False)
    # jamid answers behind our SHUT_WR: it has not heard of it.
    assert ask_options(channel, 1, shut=True).startswith(b"SIP/2.0 200 OK")
    with pytest.raises(TimeoutError):
        alice.api.wait("channel.closed", 3)
    channel.close()
    assert channel.end()["reason"] == "closed"
    # The connection goes on, and the next channel is none the worse.
    second = alice.api.open(jami.device, "sip")
    assert ask_options(second, 2).startswith(b"SIP/2.0 200 OK")
    assert len(alice.connections()) == 1


def test_connections_tell_dialect_path_and_account(both):
    alice, jami = both
    channel = alice.api.open(jami.account, "sip")
    shown = alice.ctl("connections", "--json")
    (connection,) = [json.loads(line) for line in shown.stdout.splitlines()]
    assert connection["dialect"] == "jami"
    assert connection["account"] == jami.account and connection["peer"] == jami.device
    assert connection["local_address"] and connection["remote_address"]
    channel.close()


def test_by_hand(both):
    """What the README shows: open, an OPTIONS request on stdin, the answer on stdout."""
    alice, jami = both
    started = time.monotonic()
    done = alice.ctl("open", jami.account, "sip", input=OPTIONS % (1, 1, 1))
    assert done.stdout.startswith(b"SIP/2.0 200 OK"), done
    # -q is 5 s here. The peer has not ended the channel, so nobody knows that this was all.
    assert done.returncode == 7
    assert time.monotonic() - started > 5
