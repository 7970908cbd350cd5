# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the e2e tests, and the daemons' logs where a test fails."""
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402  (the path comes first)

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
        node.close_clients()
    return shared_pair


@pytest.fixture
def netns():
    if harness.default_mode() != "netns":
        pytest.skip("needs network namespaces, which need root")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for made in harness.LABS:
            report.sections.append((f"logs in {made.directory}", made.report()))
