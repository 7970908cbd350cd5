# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages on a booted machine: installed, both services started by systemd under all that the units forbid, used,
killed, rebooted, upgraded, removed and purged. One machine, on which each test goes on where the last one ended."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest
from machine import MINIMAL, CannotBoot, Machine, cached_root, check_place, depends_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CONND_BUILD", ROOT / "build" / "release"))
NEXT_VERSION = "0.1.0+next"
SYSTEM_SOCKET = "/run/jami-connd/control.sock"
DHT_PORT = 4222
WAIT = 180


def next_version(deb, directory):
    """The same package with a higher version."""
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", f"Version: {NEXT_VERSION}", control.read_text(encoding="utf-8"), flags=re.MULTILINE),
                       encoding="utf-8")
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "-b", tree, directory / "next" / deb.name], check=True, capture_output=True)
    subprocess.run(["rm", "-rf", tree], check=True)


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A directory with the packages of this build in now/, and the same with a higher version in next/."""
    try:
        check_place()
    except CannotBoot as why:
        pytest.skip(f"no machine can be booted here: {why}")
    directory = tmp_path_factory.mktemp("packages")
    made = subprocess.run([ROOT / "packaging/build-deb.sh", "--built", BUILD, directory / "now"], check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    shutil.copy(ROOT / "tools/setup.sh", directory)
    (directory / "next").mkdir()
    for deb in (directory / "now").glob("jami-conn*.deb"):
        next_version(deb, directory)
    return directory


@pytest.fixture(scope="module")
def machine(packages):
    try:
        root = cached_root(depends_of(sorted((packages / "now").glob("jami-conn*.deb"))))
        made = Machine(root, packages)
    except CannotBoot as why:
        pytest.skip(f"no machine can be booted here: {why}")
    try:
        made.boot()
        yield made
    finally:
        made.close()


def ctl(machine, *words, user, system=False, **options):
    command = ["jami-connctl", *(["--socket", SYSTEM_SOCKET] if system else []), *words]
    return machine.run(*command, user=user, **options)


def status(machine, **who):
    return json.loads(ctl(machine, "call", "daemon.status", **who).stdout)


def manage(machine, *words, user=None, **options):
    return machine.run("systemctl", *(["--user"] if user else []), "--no-pager", *words, user=user, **options)


def shown(machine, unit="jami-connd.service", user=None):
    names = ["ActiveState", "SubState", "Result", "NRestarts", "MainPID"]
    lines = manage(machine, "show", "--property", ",".join(names), unit, user=user).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def until(machine, question, what):
    end = time.monotonic() + WAIT
    while not (answer := question()):
        assert time.monotonic() < end, f"not in {WAIT} s: {what}\n{machine.journal()}"
        time.sleep(0.1)
    return answer


def print_status(machine, when):
    """What a person is shown of both."""
    for user in (None, "alice"):
        print(f"---- {when}: systemctl {'--user ' if user else ''}status jami-connd")
        print(manage(machine, "status", "--lines=4", "jami-connd", user=user, check=False).stdout)


def up(machine, user=None, but=None):
    """It runs, as another process than `but`, and answers."""
    def question():
        now = shown(machine, user=user)
        return now if now["ActiveState"] == "active" and now["MainPID"] not in ("0", but) else None

    now = until(machine, question, f"the service of {user or 'the system'} is up")
    until(machine, lambda: status(machine, user=user or "root", system=not user)["state"] == "ready", "it is ready")
    return now


def listen_and_open(machine):
    """alice takes a channel at the system's service and opens it from her own: the bytes that came back."""
    device = ctl(machine, "id", "--wait", str(WAIT), user="alice", system=True).stdout.strip()
    listener = machine.start("jami-connctl", "--socket", SYSTEM_SOCKET, "listen", "echo", "--once", "--exec", "cat", user="alice")
    until(machine, lambda: status(machine, user="root", system=True)["counts"]["listeners"] == 1, "the listener")
    back = ctl(machine, "open", "--timeout", str(WAIT), device, "echo", user="alice", text="over the booted machine").stdout
    said, _ = listener.communicate(timeout=WAIT)
    assert listener.returncode == 0, said
    return back


def test_fault_e0_installed_and_nothing_runs(machine):
    machine.run("sh", "-c", "dpkg -i /shared/now/jami-conn*.deb")
    assert shown(machine)["ActiveState"] == "inactive"
    assert machine.run("systemctl", "is-enabled", "jami-connd.service", "jami-connd.socket", check=False).stdout.split() == ["disabled"] * 2
    assert machine.run("pgrep", "jami-connd", check=False).returncode in (1, 127)
    for user, groups in (("alice", "jami-connd"), ("admin", "jami-connd,jami-connd-admin"), ("guest", "")):
        machine.run("useradd", "--create-home", *(["-G", groups] if groups else []), user)
    machine.run("sh", "-c", f"printf 'bootstrap = none\\nno-lan-discovery = true\\ndht-port = {DHT_PORT}\\n' >>/etc/jami-connd/jami-connd.conf")
    machine.run("sh", "-c", "mkdir -p ~/.config/jami-connd && "
                f"printf 'bootstrap = 127.0.0.1:{DHT_PORT}\\nno-lan-discovery = true\\n' >~/.config/jami-connd/jami-connd.conf", user="alice")
    machine.run("loginctl", "enable-linger", "alice")
    until(machine, lambda: shown(machine, "user@1000.service")["ActiveState"] == "active", "the manager of alice")


def test_fault_e0_the_services_start(machine):
    manage(machine, "enable", "--now", "jami-connd")
    manage(machine, "enable", "--now", "jami-connd", user="alice")
    for user in (None, "alice"):
        assert up(machine, user)["NRestarts"] == "0"
    assert machine.run("stat", "-c", "%U:%G %a", SYSTEM_SOCKET).stdout.strip() == "root:jami-connd 660"
    # It gives way where it must not hurt others: a filter that forbids setpriority would keep it from that.
    niceness = machine.run("sh", "-c", f"cut -d' ' -f19 /proc/{shown(machine)['MainPID']}/task/*/stat").stdout.split()
    assert "5" in niceness, niceness
    print_status(machine, "after the first start")


def exposure(machine, user=None):
    """As systemd rates the unit that it has loaded: 0 to 10."""
    said = machine.run("systemd-analyze", *(["--user"] if user else []), "--no-pager", "security", "jami-connd", user=user).stdout
    return float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said).group(1))


def sees(machine, command, user=None):
    """What a shell prints that sees what the service sees: in its namespaces, as its user."""
    pid = shown(machine, user=user)["MainPID"]
    uid = machine.run("sh", "-c", f"awk '/^Uid:/ {{print $2}}' /proc/{pid}/status").stdout.strip()
    return machine.run("nsenter", "--target", pid, "--mount", "setpriv", f"--reuid={uid}", "--clear-groups", "sh", "-c", command, check=False).stdout


def test_fault_i_the_services_are_confined(machine):
    for user, most in ((None, 2.0), ("alice", 3.0)):
        rated = exposure(machine, user)
        print(f"systemd-analyze security {'--user ' if user else ''}jami-connd: {rated}")
        assert rated <= most
    # The service cannot put another socket in the place of the one that its clients know.
    assert machine.run("stat", "-c", "%U:%G %a", "/run/jami-connd").stdout.strip() == "root:root 755"
    assert "denied" in sees(machine, "mv /run/jami-connd/control.sock /run/jami-connd/other; touch /run/jami-connd/x") or \
        "Read-only" in sees(machine, "touch /run/jami-connd/x")
    # Of alice's home it sees its own state and configuration, of other programs' files nothing.
    machine.run("sh", "-c", "echo secret >~/.bash_history; mkdir -p ~/.ssh; echo secret >~/.ssh/id", user="alice")
    assert sees(machine, "ls -A ~alice", "alice").split() == [".config", ".local"]
    assert sees(machine, "touch ~alice/.local/state/jami-connd/x && rm ~alice/.local/state/jami-connd/x && echo may", "alice").strip() == "may"
    for place in ("~alice/.config/jami-connd/jami-connd.conf", "/usr/bin/x"):
        assert "Read-only" in sees(machine, f"touch {place}", "alice"), place
    # Neither lets its own user look into its memory.
    for user in (None, "alice"):
        pid = shown(machine, user=user)["MainPID"]
        assert machine.run("stat", "-c", "%U", f"/proc/{pid}/mem").stdout.strip() == "root"
        assert re.search(r"^Max core file size +0 +0 ", machine.run("cat", f"/proc/{pid}/limits").stdout, re.MULTILINE)


def test_fault_e0_who_may_what(machine):
    for user in ("alice", "admin"):
        problems = status(machine, user=user, system=True)["problems"]
        # Until the other service is found, it is true that there is nobody.
        assert [text for text in problems if "no node of the DHT answers" not in text] == []
    ctl(machine, "trust", "list", user="admin", system=True)
    assert ctl(machine, "trust", "list", user="alice", system=True, check=False).returncode == 6
    refused = ctl(machine, "status", user="guest", system=True, check=False)
    assert refused.returncode != 0, refused.stdout
    print(refused.stdout)


def test_fault_e0_channels_between_the_services(machine):
    alice = ctl(machine, "id", "--wait", str(WAIT), user="alice").stdout.strip()
    ctl(machine, "trust", "allow", alice, user="admin", system=True)
    assert listen_and_open(machine) == "over the booted machine"


def test_fault_e0_reload_restart(machine):
    machine.run("sh", "-c", "echo 'idle-timeout = 60' >>/etc/jami-connd/jami-connd.conf")
    manage(machine, "reload", "jami-connd")
    until(machine, lambda: status(machine, user="alice", system=True)["limits"]["idle_timeout_s"] == 60, "the reload")
    for user in (None, "alice"):
        before = shown(machine, user=user)["MainPID"]
        manage(machine, "restart", "jami-connd", user=user)
        assert up(machine, user, but=before)["Result"] == "success"


def test_fault_a1_whatever_kills_it_it_comes_again(machine):
    for number, name in enumerate(("SEGV", "KILL"), 1):
        for user in (None, "alice"):
            before = shown(machine, user=user)["MainPID"]
            machine.run("kill", f"-{name}", before)
            assert up(machine, user, but=before)["NRestarts"] == str(number)
    print_status(machine, "after SIGSEGV and SIGKILL")
    for user in (None, "alice"):
        assert manage(machine, "show", "--property", "StartLimitIntervalUSec", "--value", "jami-connd", user=user).stdout.strip() == "0"


def test_fault_e0_socket_activation(machine):
    manage(machine, "stop", "jami-connd")
    manage(machine, "start", "jami-connd.socket")
    assert machine.run("stat", "-c", "%G %a", SYSTEM_SOCKET).stdout.strip() == "jami-connd 660"
    assert status(machine, user="alice", system=True)["problems"] == []
    assert shown(machine)["ActiveState"] == "active"
    manage(machine, "stop", "jami-connd.service", "jami-connd.socket")
    manage(machine, "start", "jami-connd")


def test_fault_e0_after_a_boot(machine):
    machine.power_off()
    machine.boot()
    for user in (None, "alice"):
        assert up(machine, user)["NRestarts"] == "0"
        assert status(machine, user=user or "root", system=not user)["problems"] == []
    assert listen_and_open(machine) == "over the booted machine"
    print_status(machine, "after a boot")


def test_fault_i_it_starts_where_there_are_no_user_namespaces(machine):
    dropin = "/etc/systemd/system/user@.service.d/no-namespaces.conf"
    machine.run("sh", "-c", f"mkdir -p $(dirname {dropin}) && printf '[Service]\nRestrictNamespaces=~user\n' >{dropin}")
    manage(machine, "daemon-reload")
    manage(machine, "restart", "user@1000.service")
    assert up(machine, "alice")["NRestarts"] == "0"
    pid = shown(machine, user="alice")["MainPID"]
    outside = machine.run("readlink", "/proc/1/ns/user").stdout
    assert machine.run("readlink", f"/proc/{pid}/ns/user").stdout == outside
    assert listen_and_open(machine) == "over the booted machine"
    print(f"without user namespaces: systemd-analyze security --user jami-connd: {exposure(machine, 'alice')}")
    machine.run("rm", dropin)
    manage(machine, "daemon-reload")
    manage(machine, "restart", "user@1000.service")
    up(machine, "alice")
    assert machine.run("readlink", f"/proc/{shown(machine, user='alice')['MainPID']}/ns/user").stdout != outside


def test_fault_e0_upgrade(machine):
    before = shown(machine)["MainPID"]
    machine.run("sh", "-c", "dpkg -i /shared/next/jami-conn*.deb")
    assert machine.run("dpkg-query", "-W", "-f", "${Version}", "jami-connd").stdout == NEXT_VERSION
    up(machine, but=before)
    manage(machine, "restart", "jami-connd", user="alice")
    up(machine, "alice")
    assert listen_and_open(machine) == "over the booted machine"
    print_status(machine, "after an upgrade")


def test_fault_e0_remove_and_purge(machine):
    manage(machine, "disable", "--now", "jami-connd", user="alice")
    machine.run("dpkg", "--remove", "jami-connd", "jami-connctl")
    assert shown(machine)["ActiveState"] == "inactive"
    assert machine.run("pgrep", "jami-connd", check=False).returncode in (1, 127)
    assert machine.run("test", "-d", "/var/lib/jami-connd", check=False).returncode == 0
    machine.run("dpkg", "--purge", "jami-connd", "jami-connctl")
    left = machine.run("sh", "-c", "ls -d /var/lib/jami-connd /run/jami-connd /etc/jami-connd /etc/systemd/system/*/jami-connd*", check=False).stdout
    assert "No such file" in left and "\n/" not in f"\n{left}", left


def dhtnode(machine):
    """(whether it runs, what systemd says of its start with the machine)."""
    return (shown(machine, "dhtnode.service")["ActiveState"] == "active",
            manage(machine, "is-enabled", "dhtnode.service", check=False).stdout.strip())


def test_fault_e11_what_is_installed_for_us_starts_nothing(machine):
    before = manage(machine, "list-unit-files", "--state=enabled", "--no-legend").stdout
    machine.run("bash", "/shared/setup.sh", "none", "dhtnode")
    assert machine.run("dpkg-query", "-W", "-f", "${db:Status-Status}", "dhtnode").stdout == "installed"
    assert dhtnode(machine) == (False, "masked")
    assert machine.run("sh", "-c", "grep -l dhtnode /proc/[0-9]*/comm", check=False).stdout == ""
    assert manage(machine, "list-unit-files", "--state=enabled", "--no-legend").stdout == before
    assert machine.run("test", "-e", "/usr/sbin/policy-rc.d", check=False).returncode == 1


def test_fault_e11_a_service_that_was_there_stays_as_it_was(machine):
    machine.run("apt-get", "-y", "purge", "dhtnode")
    manage(machine, "unmask", "dhtnode.service", check=False)
    machine.run("apt-get", "-y", "--no-install-recommends", "install", "dhtnode")
    assert dhtnode(machine) == (True, "enabled")  # Debian's way
    machine.run("bash", "/shared/setup.sh", "none", "dhtnode")
    assert dhtnode(machine) == (True, "enabled")
    # And a policy of the administrator's.
    machine.run("apt-get", "-y", "purge", "dhtnode")
    machine.run("sh", "-c", "printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d")
    machine.run("bash", "/shared/setup.sh", "none", "dhtnode")
    assert dhtnode(machine) == (False, "masked")
    assert machine.run("cat", "/usr/sbin/policy-rc.d").stdout == "#!/bin/sh\nexit 101\n"


def test_fault_e11_the_demo_needs_few_packages(machine):
    wanted = machine.run("bash", "/shared/setup.sh", "--list", "demo").stdout.split()
    assert not {"dhtnode", "jami-daemon", "systemd"} & set(wanted), wanted
    asked = machine.run("apt-get", "-o", f"Dir::State::status={MINIMAL}", "--assume-no", "--no-install-recommends", "install", *wanted, check=False).stdout
    found = re.search(r"^Need to get (?:[\d.]+ .B/)?([\d.]+) MB of archives", asked, re.MULTILINE)
    print(found and found.group(0))
    assert found and float(found.group(1)) <= 180, asked[-2000:]
