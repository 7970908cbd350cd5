# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the e2e tests, and the daemons' logs where a test fails."""
import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402  (the path comes first)
from hostile import HOSTILE, Hostile, device_of  # noqa: E402
from traffic import Echo, round_trip, subscribed  # noqa: E402

# Whoever ends a run, ends its daemons too: as ^C does.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture
def lab():
    with harness.Lab() as made:
        yield made


@pytest.fixture(scope="module")
def shared_lab():
    with harness.Lab() as made:
        yield made


@pytest.fixture(scope="module")
def shared_pair(shared_lab):
    """Alice and Bob, who trust each other, for all tests of a file that leave them as they found them."""
    return shared_lab.pair()


@pytest.fixture
def pair(shared_pair):
    for node in shared_pair:
        assert node.process.running(), f"{node.name} has ended:\n{node.process.log()[-4000:]}"
        node.close_all()
    # What the last test left open ends a moment later.
    harness.until(lambda: not any(node.status()["counts"]["channels"] for node in shared_pair), 20 * harness.SCALE, "no channels")
    return shared_pair


@pytest.fixture(scope="module")
def nodes(shared_lab):
    """Alice, who is attacked, and Bob, who must not notice."""
    alice, bob = shared_lab.pair()
    return alice, bob


@pytest.fixture
def attacked(nodes, shared_lab):
    """Alice, a hostile peer that she allows, and the events from now on. Afterwards Bob's channel works as before."""
    alice, bob = nodes
    alice.close_all()
    bob.close_all()
    hostile = Hostile.good(shared_lab, HOSTILE)
    device = device_of(shared_lab, HOSTILE)
    alice.api.call("trust.allow", id=device)
    events = subscribed(alice)
    with Echo(alice, "echo", peers="any"):
        channel = bob.api.open(alice.device, "echo")
        assert round_trip(channel, b"before") == b"before"
        yield alice, hostile, device, events
        assert round_trip(channel, b"after") == b"after"
        channel.close()
    hostile.end()
    alice.api.call("connection.close", peer=device)
    alice.check_log()


@pytest.fixture
def netns():
    if harness.default_mode() != "netns":
        pytest.skip("needs network namespaces, which need root")


@pytest.fixture
def disk_of(tmp_path):
    """Makes a file system of so many megabytes, and says where it is."""
    if os.geteuid() != 0:
        pytest.skip("a full disk needs a mount, which needs root")
    place = tmp_path / "disk"
    place.mkdir()

    def mount(megabytes):
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode != 0:
            pytest.skip(f"cannot mount a tmpfs: {done.stderr.decode().strip()}")
        return place

    yield mount
    if place.is_mount():
        harness.run("umount", "-l", str(place))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for made in harness.LABS:
            report.sections.append((f"logs in {made.directory}", made.report()))
