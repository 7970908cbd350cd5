# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers that want more channels than there are, and peers that allow few."""
import pytest
from api_client import ApiError
from harness import SANITIZER, SCALE, Deadline, sized, until
from hostile import HOSTILE, MAX_GROWTH, OWN, Hostile, connected, control, device_of, frame, mine, numbers, pack, request
from traffic import Echo, Talker, round_trip, subscribed

# As many channels as a daemon is given, and what a peer asks for.
CHANNELS, REQUESTS = 200, 1_000
RESOURCE_LIMIT = 17  # PROTOCOL.md, the table of reasons


def test_opens_for_ever_and_never_reads(attacked):
    """Channels without end to an app that writes at once, and not a byte read."""
    alice, hostile, device, events = attacked
    # With 1,024 files, which are 720 channels: of what is asked for in one write most waits until the app has its ends of
    # those before, for each channel has two descriptors until then.
    count = min(sized(100, 500, 2000), alice.status()["limits"]["max_channels"] - 1)  # one is Bob's
    with Talker(alice, "talk", peers="any"):
        connected(hostile, alice, events, device)
        rss, fds = alice.rss(), alice.fds()
        hostile.say("quiet").say("pause")
        hostile.plain(b"".join(request("talk", OWN + n, 1 << 20) for n in range(count)))
        until(lambda: mine(alice, device) == count, 30 * SCALE, "the channels are open")
        alice.api.sync()
        growth = alice.rss() - rss
        print(f"{count} channels, grew by {growth >> 10} KiB")
        assert SANITIZER or growth < MAX_GROWTH
        alice.api.call("connection.close", peer=device)
        until(lambda: not mine(alice, device) and alice.fds() <= fds, 30 * SCALE, "all is given back")


def answers_to(hostile, count):
    """The ids that were accepted and refused, with the code, once so many have been."""
    got, deadline, refuse = bytearray(), Deadline(40 * SCALE), pack("refuse")
    while got.count(refuse) + got.count(pack("talk")) < count:
        got += bytes.fromhex(hostile.expect("plain", deadline.left()))
    ids = range(OWN, OWN + count)
    accepted = [n for n in ids if pack(["talk", n, True]) in got]
    refused = [n for n in ids if pack({"t": "refuse", "c": n, "code": RESOURCE_LIMIT})[1:] in got]
    return accepted, refused


@pytest.mark.parametrize("share", [0, 100])
def test_one_peer_wants_all_channels(lab, share):
    """Without --max-channels-per-peer the channels are for who comes first among the peers that are allowed: one may take all,
    and the others' new ones are refused with their reason until it is thrown out. With it there is something left."""
    alice = lab.node("alice", "--max-channels", CHANNELS, "--max-channels-per-peer", share).start()
    bob = lab.node("bob").start()
    hostile, device = Hostile.good(lab, HOSTILE), device_of(lab, HOSTILE)
    bob.allow(alice)
    alice.allow(bob)
    alice.api.call("trust.allow", id=device)
    limits = alice.status()["limits"]
    assert (limits["max_channels"], limits["max_channels_per_peer"]) == (CHANNELS, share)
    with Echo(alice), Echo(bob), Talker(alice, "talk"):
        bobs = bob.api.open(alice.device, "echo")
        connected(hostile, alice, subscribed(alice), device)
        rss, fds = alice.rss(), alice.fds()
        hostile.plain(b"".join(request("talk", OWN + n, 4_096) for n in range(REQUESTS)))
        accepted, refused = answers_to(hostile, REQUESTS)
        most = share or CHANNELS - 1  # one is bob's
        assert (len(accepted), len(refused)) == (most, REQUESTS - most)
        assert mine(alice, device) == most
        growth = alice.rss() - rss
        print(f"{REQUESTS} requests: grew by {growth >> 10} KiB")
        assert SANITIZER or growth < MAX_GROWTH
        assert round_trip(bobs, b"goes on") == b"goes on"
        for opener, peer in ((bob, alice), (alice, bob)):
            if share:
                assert round_trip(opener.api.open(peer.device, "echo"), b"room") == b"room"
                continue
            with pytest.raises(ApiError) as failed:
                opener.api.open(peer.device, "echo")
            assert failed.value.reason == "resource-limit", opener.name
        alice.api.call("connection.close", peer=device)
        until(lambda: not mine(alice, device), 30 * SCALE, "all is given back")
        if not share:
            until(lambda: alice.fds() <= fds, 30 * SCALE, "their descriptors, too")
        assert round_trip(bob.api.open(alice.device, "echo"), b"again") == b"again"
        assert round_trip(alice.api.open(bob.device, "echo"), b"again") == b"again"
    hostile.end()


def test_peer_that_allows_two_channels(attacked):
    """No id is free for a third one; when one has ended there is."""
    alice, hostile, device, events = attacked
    connected(hostile, alice, events, device, hello=False)
    hostile.plain(control({"t": "hello", "v": 1, "max_channels": 2, "max_name": 65000}))
    events.event("connection.connected", peer=device)

    def opened(name, number):
        opening = alice.api.send("channel.open", peer=device, uri=name)
        hostile.expect_plain(pack([name, number, False]))
        hostile.plain(control([name, number, True], {"t": "window", "c": number, "n": 65_536}))
        return alice.api.opened(opening)

    first, second = opened("one", 1), opened("two", 2)
    for _ in range(2):
        with pytest.raises(ApiError) as failed:
            alice.api.open(device, "three")
        assert failed.value.reason == "resource-limit" and "takes no more channels" in failed.value.detail
    first.close()
    hostile.expect_plain(frame(1))
    hostile.plain(frame(1))
    assert first.end()["reason"] == "closed"
    third = opened("four", 3)
    for channel, number in ((second, 2), (third, 3)):
        channel.send(b"lives")
        hostile.expect_plain(frame(number, b"lives"))
        channel.close()


def test_one_peer_has_few_connections(attacked, shared_lab):
    """A peer that calls again and again, and keeps what it gets: eight connections, and one more when one has ended."""
    alice, first, device, events = attacked
    # Each call of theirs is a cause to ask whether the others still live.
    connected(first, alice, events, device).say("live")
    more = []
    for _ in range(7):
        more.append(connected(Hostile.good(shared_lab, HOSTILE), alice, events, device).say("live"))
    one_too_many = Hostile.good(shared_lab, HOSTILE).knows(alice).say("call", next(numbers))
    refused = events.event("request.refused", peer=device)
    assert (refused["reason"], refused["detail"]) == ("busy", "the peer has too many connections")
    listed = [c for c in alice.api.call("connection.list")["connections"] if c["peer"] == device]
    assert len(listed) == 8 and {c["state"] for c in listed} == {"connected"}
    more.pop().end()
    events.event("connection.closed", peer=device)
    one_too_many.end()
    more.append(connected(Hostile.good(shared_lab, HOSTILE), alice, events, device))
    for hostile in more:
        hostile.end()
