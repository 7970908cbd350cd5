# SPDX-License-Identifier: GPL-3.0-or-later
"""tools/bench runs, and what it prints has the right shape. Its figures are for people: no time is judged here."""
import json
import xml.etree.ElementTree

from harness import DAEMON, Process, binary, identity

BENCH = binary("CONND_BENCH", "tools/bench/jami-connd-bench")
RUN_SECONDS = 300


def bench(tmp_path, *arguments):
    """Exit code and stdout of a quick run."""
    for number, name in enumerate(("alice", "bob")):
        if not (tmp_path / name).exists():
            identity(number, tmp_path / name)
    command = [BENCH, "--quick", "--daemon", DAEMON, "--identities", tmp_path, *arguments]
    with open(tmp_path / "out", "wb") as out:
        process = Process(command, tmp_path / "log", stdout=out)
        code = process.wait(RUN_SECONDS)
    assert code == 0, process.log()
    return (tmp_path / "out").read_text(encoding="utf-8")


def test_bench_as_json_and_plot(tmp_path):
    report = json.loads(bench(tmp_path, "--json", "--plot", tmp_path / "plot.svg"))
    assert report["rounds"] == 1
    assert report["channels"] == [1, 10, 100]
    figures = report["figures"]
    expected = {"plain.mb_s", "relay.mb_s", "relay.cpu_s_gb", "relay.rtt_us", "daemon.rtt_us", "open.first_ms", "open.further_us",
                "open.many_s", "daemon.ratio.1", "daemon.ratio.100", "daemon.cpu_s_gb.1", "daemon.bulk_rtt_us.1",
                "rss.alice.before_mb", "rss.bob.during_mb", "rss.bob.after_mb", "kernel.channel_bytes"}
    assert expected <= figures.keys()
    assert all(figures[name]["median"] > 0 for name in expected - {"kernel.channel_bytes"})
    assert 0 < figures["daemon.jain.100"]["median"] <= 1
    assert {"value", "holds", "text"} <= report["measures"][0].keys()
    assert len(report["measures"]) == 9
    picture = xml.etree.ElementTree.parse(tmp_path / "plot.svg").getroot()
    assert picture.tag.endswith("svg")
    assert len(picture.findall(".//{*}circle")) == 3 * 3  # three lines of three numbers of channels


def test_bench_as_text(tmp_path):
    text = bench(tmp_path)
    for words in ("bare relay, MB/s", "first open, fresh pair, ms", "Jain's index", "measure", ">= 0.7"):
        assert words in text
