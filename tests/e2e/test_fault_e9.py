# SPDX-License-Identifier: GPL-3.0-or-later
"""FAULTS E7, E9, E13, E17: a daemon whose disk is full, which is told to stay on the LAN, whom a banned peer calls."""
import os

import pytest
from harness import FULL, LIBC, SCALE, ApiError, until

IN_OPEN = 0x20


@pytest.fixture
def full_disk(disk_of):
    """A file system without room, and how to make some."""
    place = disk_of(1)
    (place / "state").mkdir(mode=0o700)
    filler = place / "other"
    with pytest.raises(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return place / "state", filler


def problems(node):
    return "\n".join(node.status()["problems"])


def test_fault_e7_e9_a_first_start_on_a_full_disk_waits_and_says_so(lab, full_disk):
    state, filler = full_disk
    node = lab.node("new", identity_number="none")
    node.state = state
    node.start(ready=False)
    until(lambda: "there is no identity yet" in problems(node), 10 * SCALE, "the problem")
    assert "No space left" in problems(node) and f"the state directory {state} cannot be written" in problems(node)
    assert not (state / "identity").exists() and node.status()["state"] == "starting"
    if not FULL:  # keys of 4,096 bits take their time
        return
    filler.unlink()
    node.wait_ready(60 * SCALE)
    until(lambda: not problems(node), 30 * SCALE, "no problem")
    first = node.device
    node.stop()
    node.start()
    assert node.device == first


def test_fault_e9_a_state_directory_that_is_removed(shared_lab):
    if not FULL:
        pytest.skip("it looks every 10 s: with --full; state_watch_test.cpp has the rest")
    node = shared_lab.node("goes").start()
    directory = node.state
    directory.rename(directory.with_name("moved"))
    try:
        until(lambda: f"the state directory {directory} cannot be written" in problems(node), 15 * SCALE, "the problem")
    finally:
        directory.with_name("moved").rename(directory)


def test_fault_e13_bootstrap_none_is_the_lan_alone(shared_lab):
    """What is known of the DHT from before is read by who goes there again, and by nobody who is told to stay on the LAN."""
    node = shared_lab.node("once").start()
    until(lambda: node.status()["dht"]["nodes"] > 0, 10 * SCALE, "a node")
    node.stop()
    cache, = node.state.glob("dht-nodes*")
    usual = node.bootstrap
    for bootstrap in ([], usual):
        opened = LIBC.inotify_init1(os.O_NONBLOCK)
        assert LIBC.inotify_add_watch(opened, str(cache).encode(), IN_OPEN) >= 0
        node.bootstrap = bootstrap
        node.start(ready=False)
        until(lambda: node.status()["state"] == "ready", 10 * SCALE, "it has begun")
        if bootstrap:
            assert os.read(opened, 4096)
        else:
            with pytest.raises(BlockingIOError):
                os.read(opened, 4096)
        os.close(opened)
        node.stop()
    assert list(node.state.glob("dht-nodes*")) == [cache]


def test_fault_e17_one_line_for_a_refused_peer(shared_lab):
    alice, bob = shared_lab.node("alice").start(), shared_lab.node("bob").start()
    bob.ctl("trust", "ban", alice.device)
    opening = alice.api.send("channel.open", peer=bob.device, uri="x", timeout=40 * SCALE)
    until(lambda: bob.api.call("daemon.status")["metrics"]["requests_refused"] >= 1, 40 * SCALE, "it is refused")
    alice.api.call("channel.cancel", id=opening)
    with pytest.raises(ApiError):
        alice.api.reply(opening)
    log = (shared_lab.directory / "bob" / "log.1").read_text()
    lines = [line for line in log.splitlines() if "connection request refused" in line]
    assert len(lines) == 1 and "reason=banned" in lines[0], "\n".join(lines)
