# SPDX-License-Identifier: GPL-3.0-or-later
"""jami-connctl against real daemons: names, exit codes, and data that is whole or says that it is not."""
import hashlib
import json
import os
import signal
import subprocess
import threading

import pytest
from harness import CTL, SCALE, sha256, sized, until

NOBODY = "5a" * 32


def listens(node, uri, **options):
    """Starts `listen` and waits until the daemon has the listener."""
    before = node.status()["counts"]["listeners"]
    exact = options.pop("arguments", [])
    popen = node.ctl_start("listen", uri, *exact, **options)
    until(lambda: node.status()["counts"]["listeners"] > before or popen.poll() is not None, 20, "listener")
    assert popen.poll() is None, popen.stderr and popen.stderr.read()
    return popen


def stop(popen):
    popen.send_signal(signal.SIGINT)
    popen.wait(60 * SCALE)


def one_line(done):
    text = done.stderr.decode()
    assert text.endswith("\n") and text.count("\n") == 1, text
    return text


def json_lines(done):
    """One object per line."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_echo_through_exec_cat(pair):
    alice, bob = pair
    data = os.urandom(sized(8, 50, 1000) << 20)
    listener = listens(bob, "echo*", arguments=["--exec", "cat"])
    done = alice.ctl("open", bob.device, "echo1", input=data)
    assert done.returncode == 0, done.stderr
    assert sha256(done.stdout) == sha256(data)
    stop(listener)


def test_exec_gets_peer_and_uri(pair):
    alice, bob = pair
    listener = listens(bob, "env", arguments=["--exact", "--exec", "sh", "-c", 'printf "%s %s" "$JAMI_PEER" "$JAMI_URI"'])
    done = alice.ctl("open", bob.device, "env", input=b"")
    assert (done.returncode, done.stdout.decode()) == (0, f"{alice.device} env"), done.stderr
    stop(listener)


def test_many_at_once_through_exec(pair):
    alice, bob = pair
    listener = listens(bob, "many*", arguments=["--exec", "cat"])
    results = {}

    def one(number):
        data = os.urandom(100_000 + number)
        done = alice.ctl("open", bob.device, f"many{number}", input=data)
        results[number] = (done.returncode, done.stdout == data)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert results == {n: (0, True) for n in range(12)}
    stop(listener)


def test_listen_once_joined_to_stdin_and_stdout(pair):
    alice, bob = pair
    listener = listens(bob, "talk", arguments=["--once"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    listener.stdin.write(b"from bob")
    listener.stdin.close()
    listener.stdin = None
    done = alice.ctl("open", bob.device, "talk", input=b"from alice")
    out = listener.stdout.read()
    assert (done.returncode, done.stdout) == (0, b"from bob"), done.stderr
    assert (out, listener.wait(60 * SCALE)) == (b"from alice", 0)


def test_quit_after(pair):
    """-q: the other side never ends; we do."""
    alice, bob = pair
    listener = listens(bob, "never", arguments=["--exec", "sh", "-c", "cat; sleep 1000"])
    done = alice.ctl("open", bob.device, "never", "-q", "1", input=b"hello")
    assert done.stdout == b"hello"
    stop(listener)


def test_alias_as_peer(pair):
    alice, bob = pair
    assert alice.ctl("alias", "set", "bob", bob.device).returncode == 0
    assert b"bob" in alice.ctl("alias", "list").stdout
    listener = listens(bob, "alias", arguments=["--exec", "cat"])
    assert alice.ctl("open", "bob", "alias", input=b"x").stdout == b"x"
    stop(listener)
    assert alice.ctl("alias", "remove", "bob").returncode == 0


def test_killed_other_side_is_not_success(pair):
    alice, bob = pair
    listener = listens(bob, "dies", arguments=["--exec", "sh", "-c", "printf partial; kill -9 $$"])
    done = alice.ctl("open", bob.device, "dies", input=b"")
    assert done.returncode == 8 and one_line(done)
    stop(listener)


def test_exit_codes(pair):
    alice, bob = pair
    absent = subprocess.run([CTL, "--socket", "/nonexistent", "id"], capture_output=True, check=False)
    assert absent.returncode == 3 and one_line(absent)
    assert alice.ctl("no-such-verb").returncode == 2
    assert alice.ctl("open", "not a peer", "x").returncode in (2, 4)
    nobody = alice.ctl("open", NOBODY, "x", input=b"")
    assert nobody.returncode == 4 and one_line(nobody)
    unheard = alice.ctl("open", bob.device, "unheard", input=b"")
    assert unheard.returncode == 5 and one_line(unheard)
    alice.ctl("trust", "ban", NOBODY)
    banned = alice.ctl("open", NOBODY, "x", input=b"")
    assert banned.returncode == 6 and one_line(banned)
    alice.ctl("trust", "unset", NOBODY)


def test_trust_verbs(pair):
    alice, _ = pair
    assert alice.ctl("trust", "allow", NOBODY).returncode == 0
    assert NOBODY[:16].encode() in alice.ctl("trust", "list").stdout
    assert alice.ctl("trust", "unset", NOBODY).returncode == 0
    assert NOBODY[:16].encode() not in alice.ctl("trust", "list").stdout


def test_id_and_version(pair):
    alice, _ = pair
    assert alice.device in alice.ctl("id").stdout.decode()
    assert alice.ctl("version").stdout.strip()


@pytest.mark.parametrize("verb", [["id"], ["status"], ["trust", "list"], ["alias", "list"], ["connections"], ["channels"],
                                  ["version"], ["doctor"]])
def test_json_on_every_verb_that_prints(pair, verb):
    alice, _ = pair
    done = alice.ctl(*verb, "--json")
    assert done.returncode == 0, done.stderr
    assert all(isinstance(item, dict) for item in json_lines(done))


def test_doctor_of_a_daemon_that_is_well_and_of_one_that_is_not_there(pair):
    alice, _ = pair
    well = alice.ctl("doctor", "--json")
    assert well.returncode == 0, well.stdout
    verdicts = {line["check"]: line["verdict"] for line in json_lines(well)}
    assert verdicts.pop("clock") in ("good", "warning", "not known")  # the machine's own
    assert verdicts.pop("requests") in ("good", "not known")  # by what was tested so far
    assert verdicts.pop("port") in ("good", "not known")  # by whether anybody here can tell
    assert verdicts == {"daemon": "good", "identity": "good", "dht": "good", "trust": "good"}
    gone = subprocess.run([CTL, "--socket", f"{alice.ctl_socket}.none", "doctor"], capture_output=True, check=False)
    assert gone.returncode == 1 and b"nobody answers" in gone.stdout and b"-> start it" in gone.stdout


def test_call(pair):
    alice, _ = pair
    done = alice.ctl("call", "hello", '{"client":"by hand"}')
    assert json.loads(done.stdout)["server"] == "jami-connd", done.stderr
    wrong = alice.ctl("call", "hello", '{"client":7}')
    assert wrong.returncode == 2


def test_connections_channels_and_close(pair):
    alice, bob = pair
    bob.api.call("listen.add", uri="held")
    popen = alice.ctl_start("open", bob.device, "held", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    bob.api.incoming(uri="held")
    assert bob.device[:8].encode() in alice.ctl("connections").stdout
    held = [channel for channel in json_lines(alice.ctl("channels", "--json")) if channel["uri"] == "held"]
    assert len(held) == 1
    assert alice.ctl("close", str(held[0]["channel"])).returncode == 0
    out, err = popen.communicate(timeout=60 * SCALE)
    assert popen.returncode != 0 and err, out


def test_sums_beside_strangers(lab):
    """The issue's line by hand, scaled: sums agree while strangers dribble into every port."""
    alice, bob = lab.pair()
    size = sized(8, 100, 1000) << 20
    with lab.strangers(alice, bob) as strangers:
        listener = listens(bob, "echo*", arguments=["--exec", "cat"])
        held = strangers.open_beside(alice.api, bob, "echo0")
        data = os.urandom(size)
        done = alice.ctl("open", bob.device, "echo1", input=data)
        assert done.returncode == 0, done.stderr
        assert held.handle and hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
        stop(listener)
    assert strangers.made > 0


def test_events_stream(pair):
    alice, bob = pair
    popen = alice.ctl_start("events", "--json", stdout=subprocess.PIPE)
    line = popen.stdout.readline()  # the snapshot: it is subscribed
    assert json.loads(line)
    bob.api.call("listen.add", uri="seen")
    with alice.client() as client:
        client.open(bob.device, "seen").close()
    while json.loads(popen.stdout.readline()).get("type") != "channel.closed":
        pass
    stop(popen)
