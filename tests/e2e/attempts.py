# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of connecting ask: how an open failed, and what was told of an attempt."""
from api_client import reason_of


def told(events, kind, **members):
    """All such events of now, in their order."""
    events.sync()
    return events.taken("event", type=kind, **members)


def failed_once(client, requests):
    """The reasons of these opens, of a daemon that ends: each is told, and not again before it is gone."""
    reasons = [reason_of(client.reply, request) for request in requests]
    client.wait_gone(20)
    assert not any(client.replies.values()), "reported twice"
    return reasons
