# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests with jamid. Where it cannot run they are skipped, and say why: never passed."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import harness  # noqa: E402  (the paths come first)
import jamid  # noqa: E402


@pytest.fixture(scope="module")
def jami_lab():
    why = jamid.why_not()
    if why:
        pytest.skip(why)
    with jamid.JamiLab() as made:
        yield made


@pytest.fixture(scope="module")
def shared(jami_lab):
    """Our daemon and a jamid, which have never met, and of which ours trusts the other's account."""
    alice = jami_lab.node("alice").start()
    jami = jami_lab.jamid("jami1")
    alice.api.call("trust.allow", id=jami.account, kind="account")
    return alice, jami


@pytest.fixture
def both(shared):
    """The same for one test, not connected."""
    alice, jami = shared
    assert alice.process.running(), f"alice has ended:\n{alice.process.log()[-4000:]}"
    alice.close_all()
    alice.api.call("connection.close", peer=jami.device)
    harness.until(lambda: not alice.connections(), 10, "no connection")
    return alice, jami


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for made in harness.LABS:
            report.sections.append((f"logs in {made.directory}", made.report()))
