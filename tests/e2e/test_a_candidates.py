# SPDX-License-Identifier: GPL-3.0-or-later
"""SCENARIOS A10: a peer with hundreds of candidates that lead nowhere, and with lines that are none."""
import time

import pytest
from api_client import reason_of
from harness import SANITIZER, SCALE
from hostile import HELLO, Hostile, control, device_of, pack
from traffic import subscribed

# Beyond those of the labs' nodes.
HOSTILE = 20
# The hostile peer is called: ids of the one who called are the TLS server's, which begin here.
SERVERS = 0x8000
DEAD = 512
# How much a daemon may grow meanwhile: the bounds of PROTOCOL.md 14, and what the allocator keeps.
MAX_GROWTH = 48 << 20
numbers = iter(range(time.time_ns() % (1 << 40), 1 << 53))

MALFORMED = ["1 1 TCP nonsense", "1 1 TCP 2130706431 10.99.0.1 0 typ host tcptype passive", "\x7f" * 300, "x" * 600, "",
             "1 2 TCP 1 fe80::1 9 typ host tcptype so", "1 1 UDP 2130706431 10.99.0.1 9 typ host"]


def dead_lines(first, priority):
    """Half of all, with a malformed one behind each eighth."""
    lines = []
    for n in range(first, first + DEAD // 2):
        lines.append(f"{n} 1 TCP {priority} 10.99.{n >> 8}.{n & 255} {1000 + n} typ host tcptype passive")
        if n % 8 == 0:
            lines.append(MALFORMED[n // 8 % len(MALFORMED)])
    return "\n".join(lines) + "\n"


# What the dead ones say of themselves, and whether the daemon can be reached: of 64 that count, the dead are all if they
# claim to be the best, and then the peer has to find the way by itself.
WORTH = {"below": (1, "firewall"), "above": (0x7FFFFFFF, None)}


@pytest.mark.parametrize("worth", WORTH)
def test_a10_hundreds_of_dead_candidates_and_malformed_ones(netns, lab, tmp_path, worth):
    priority, cut = WORTH[worth]
    alice = lab.node("alice").start()
    if cut:
        alice.cut(cut)
    hostile = Hostile.good(lab, HOSTILE).knows(alice)
    device = device_of(lab, HOSTILE)
    alice.api.call("trust.allow", id=device)
    events, rss = subscribed(alice), alice.rss()
    before, behind = tmp_path / "before", tmp_path / "behind"
    before.write_text(dead_lines(0, priority))
    behind.write_text(dead_lines(DEAD // 2, priority))
    # In a request.
    hostile.say("call", next(numbers), before, behind).expect("path")
    hostile.say("tls").expect("up")
    hostile.plain(HELLO)
    events.event("connection.connected", peer=device)
    alice.api.call("connection.close", peer=device)
    hostile.expect("down")
    # In an answer.
    hostile.say("answer", before, behind).expect("answering")
    opening = alice.api.send("channel.open", peer=device, uri="x", timeout=30 * SCALE)
    hostile.expect("path")
    hostile.say("tls").expect("up")
    hostile.plain(HELLO)
    events.event("connection.connected", peer=device)
    hostile.expect_plain(pack(["x", SERVERS, False])[:-1])
    hostile.plain(control({"t": "refuse", "c": SERVERS, "code": 5, "text": "no"}))
    assert reason_of(alice.api.reply, opening) == "declined"
    # None of these was the second try.
    assert not events.taken("event", type="connection.failed")
    assert SANITIZER or alice.rss() - rss < MAX_GROWTH
    hostile.end()
