# SPDX-License-Identifier: GPL-3.0-or-later
"""Fault C7: whatever can be stored can be shown: lists in pages, a snapshot as a stream of parts."""
import json
import time

import pytest
from api_client import reason_of
from harness import FULL, SCALE, until
from traffic import Echo

MANY = 10_000
CHANNELS = 15_000 if FULL else 300
# A page's share of the loop's time, as a client sees it that asks for something else at the same time.
LONGEST_MS = 40 * SCALE


def alias(number):
    return f"friend-{number}-{'x' * 60}"


def write_state(node):
    """As many aliases, and devices that are allowed, as the lists had trouble with."""
    devices = [f"{number:064x}" for number in range(1, MANY + 1)]
    aliases = [{"name": alias(number), "device": device} for number, device in enumerate(devices)]
    entries = [{"kind": "device", "id": device, "state": "allowed", "since": 1} for device in devices]
    for name, member, items in (("aliases.json", "aliases", aliases), ("trust.json", "entries", entries)):
        path = node.state / name
        path.write_text(json.dumps({"v": 1, member: items}))
        path.chmod(0o600)
    return devices


@pytest.fixture(scope="module")
def crowded(shared_lab):
    node = shared_lab.node("crowded")
    devices = write_state(node)
    node.start(ready=False)
    return node, devices


def lines(node, *arguments):
    done = node.ctl(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_fault_c7_ten_thousand_entries_are_shown(crowded):
    node, devices = crowded
    # One line of 1 MiB does not hold them; the error says how to ask.
    for method in ("trust.list", "alias.list"):
        assert reason_of(node.api.call, method) == "resource-limit"
    shown = [json.loads(line) for line in lines(node, "trust", "list", "--json")]
    assert [entry["id"] for entry in shown] == devices
    assert {entry["alias"] for entry in shown} == {alias(number) for number in range(MANY)}
    shown = {json.loads(line)["name"] for line in lines(node, "alias", "list", "--json")}
    assert len(shown) == MANY
    assert len(lines(node, "trust", "list")) == MANY + 1


def test_fault_c7_receive_finds_one_alias_of_ten_thousand(crowded, tmp_path):
    node, _ = crowded
    receive = node.ctl_start("receive", "--from", alias(MANY - 1), str(tmp_path))
    until(lambda: node.status()["counts"]["listeners"] or receive.poll() is not None, 20 * SCALE, "it listens, or has ended")
    assert receive.poll() is None
    receive.terminate()
    receive.wait()


def page_times(node, method):
    """How long each page took, from the request to the answer, in ms; and how many items there were."""
    times, count, params = [], 0, {"limit": 256}
    while True:
        begun = time.monotonic()
        page = node.api.call(method, **params)
        times.append((time.monotonic() - begun) * 1000)
        count += len(next(value for value in page.values() if isinstance(value, list)))
        if "next" not in page:
            return times, count
        params["after"] = page["next"]


def test_fault_c7_channels_in_pages_and_as_a_stream(shared_lab):
    alice, bob = shared_lab.pair()
    with Echo(bob, "many"):
        channels = [alice.api.open(bob.device, "many") for _ in range(CHANNELS)]
        try:
            times, count = page_times(alice, "channel.list")
            print(f"{count} channels in {len(times)} pages: {max(times):.1f} ms the longest, {sum(times):.0f} ms all")
            assert count == CHANNELS
            assert max(times) < LONGEST_MS
            assert len(lines(alice, "channels", "--json")) == CHANNELS
            with alice.client("stream") as client:
                client.call("events.subscribe", stream=True)
                parts = []
                while not parts or not parts[-1]["done"]:
                    parts.append(client.wait("events.snapshot")[0])
                assert sum(len(part.get("channels", [])) for part in parts) == CHANNELS
                assert sum(len(part.get("connections", [])) for part in parts) == 1
        finally:
            for channel in channels:
                channel.close()
