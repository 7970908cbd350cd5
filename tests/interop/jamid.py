# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's jamid beside our daemons, in the laboratory of tests/e2e/harness.py.

    with JamiLab() as lab:
        jami = lab.jamid("jami1")
        alice = lab.node("alice").start()
        alice.api.open(jami.account, "sip")

Each jamid has a network namespace, a D-Bus session and one fresh account of its own. Three things it needs: no IPv6
address anywhere in its namespace (on kernels from 6.9 it hangs otherwise), an address that is not on `lo`, and DHT
network 0. Until it has computed its Diffie-Hellman parameters it cannot call.
"""
import os
import pathlib
import re
import shutil
import subprocess

import harness
from harness import Process, until

JAMID = "/usr/libexec/jamid"
PROGRAMS = (JAMID, "dbus-daemon", "gdbus", "dhtnode")
START_SECONDS = 60 * harness.SCALE
DH_SECONDS = 120 * harness.SCALE
SERVICE = "cx.ring.Ring"
NO_SETTINGS = {
    "Account.type": "RING", "Account.enable": "true", "Account.upnpEnabled": "false", "TURN.enable": "false",
    "STUN.enable": "false", "Account.peerDiscovery": "false", "Account.accountDiscovery": "false",
    "Account.accountPublish": "false", "Account.proxyEnabled": "false", "Account.archivePassword": "",
    # Names are looked up there: nobody is.
    "RingNS.uri": "http://127.0.0.1:1", "DHT.PublicInCalls": "true",
}


def why_not():
    """Why these tests cannot run here; empty if they can."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        return f"interop: {', '.join(missing)} missing: apt-get install jami-daemon dbus libglib2.0-bin dhtnode"
    if harness.default_mode() != "netns":
        return "interop: needs network namespaces, which need root"
    return ""


def variant(values):
    """A dictionary of texts as GVariant text."""
    return "{" + ",".join(f"'{key}':'{value}'" for key, value in values.items()) + "}"


class Jamid:
    """One jamid with one account."""

    def __init__(self, lab, name, number):
        self.lab = lab
        self.name = name
        self.directory = lab.directory / name
        self.directory.mkdir()
        self.namespace = lab.add_namespace(name, number)
        self.number = number
        self.bus = None
        self.process = None
        self.runs = 0
        self.handle = self.account = self.device = None

    # -- life --

    def environment(self):
        places = {"HOME": "home", "XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config", "XDG_DATA_HOME": "data",
                  "XDG_CACHE_HOME": "cache"}
        out = {"PATH": os.environ["PATH"], "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.directory}/bus"}
        for variable, place in places.items():
            (self.directory / place).mkdir(mode=0o700, exist_ok=True)
            out[variable] = str(self.directory / place)
        return out

    def start(self):
        """Starts both daemons, makes the account if there is none, and waits until it is registered and announced."""
        self.runs += 1
        environment = self.environment()
        bus = self.directory / "bus"
        bus.unlink(missing_ok=True)
        self.bus = Process(["dbus-daemon", "--session", f"--address=unix:path={bus}", "--nofork", "--nopidfile"],
                           self.directory / f"bus.log.{self.runs}", self.namespace, environment=environment)
        until(bus.exists, START_SECONDS, "the session bus")
        self.process = Process([JAMID, "-c", "-d", "-p"], self.directory / f"log.{self.runs}", self.namespace,
                               environment=environment)
        until(self._on_bus, START_SECONDS, f"{self.name} on its bus")
        if self.handle is None:
            settings = NO_SETTINGS | {"Account.alias": self.name, "Account.displayName": self.name,
                                      "Account.hostname": self.lab.dht_address()}
            self.handle = re.search("[0-9a-f]{16}", self.call("addAccount", variant(settings)))[0]
        until(self._announced, START_SECONDS, f"{self.name}'s account is registered and announced")
        details = self.call("getAccountDetails", self.handle)
        self.account = self._member(details, "Account.username")
        self.device = self._member(details, "Account.deviceID") or self._member(
            self.call("getVolatileAccountDetails", self.handle), "Account.deviceID")
        return self

    def wait_can_call(self):
        until(lambda: re.search("(Saved|Loaded) DhParams", self.process.log()), DH_SECONDS, f"{self.name}'s parameters")
        return self

    def stop(self):
        for process in (self.process, self.bus):
            if process and process.running():
                process.popen.terminate()
                try:
                    process.wait(harness.STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()

    # -- D-Bus --

    def call(self, method, *arguments, manager="ConfigurationManager"):
        command = ["gdbus", "call", "--session", "--dest", SERVICE, "--object-path", f"/cx/ring/Ring/{manager}",
                   "--method", f"{SERVICE}.{manager}.{method}", *arguments]
        assert self.process.running(), f"{self.name} has ended:\n{self.process.log()[-4000:]}"
        return harness.run(*command, env=self.environment(), timeout=START_SECONDS)

    def _on_bus(self):
        command = ["gdbus", "call", "--session", "--dest", "org.freedesktop.DBus", "--object-path", "/", "--method",
                   "org.freedesktop.DBus.NameHasOwner", SERVICE]
        assert self.process.running(), f"{self.name} has ended:\n{self.process.log()[-4000:]}"
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment())
        return "true" in done.stdout

    @staticmethod
    def _member(text, key):
        found = re.search(f"'{re.escape(key)}': '([^']*)'", text)
        return found[1] if found else ""

    def _announced(self):
        details = self.call("getVolatileAccountDetails", self.handle)
        return (self._member(details, "Account.registrationStatus") == "REGISTERED"
                and self._member(details, "Account.deviceAnnounced") == "true")

    # -- what it can do --

    @property
    def short_device(self):
        """The legacy id of the device: SHA-1 of its public key."""
        import hashlib

        certificate = self.directory / "data" / "jami" / self.handle / "ring_device.crt"
        key = harness.run("openssl", "x509", "-in", str(certificate), "-pubkey", "-noout")
        return hashlib.sha1(subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key.encode(),
                                           check=True, capture_output=True).stdout).hexdigest()

    def ring(self, account):
        """Calls an account, as a person would: opens `sip` to all its devices, and sends an INVITE there. A handle."""
        return re.search("[0-9]+", self.call("placeCall", self.handle, account, manager="CallManager"))[0]

    def hang_up(self, call):
        self.call("hangUp", self.handle, call, manager="CallManager")

    def start_conversation(self):
        """The id of a new conversation, which exists on disk."""
        return re.search("[0-9a-f]{40}", self.call("startConversation", self.handle))[0]

    def ban(self, account):
        self.call("removeContact", self.handle, account, "true")

    def unban(self, account):
        self.call("addContact", self.handle, account)


class JamiLab(harness.Lab):
    def __init__(self):
        self.jamids = []
        super().__init__("netns")

    def jamid(self, name):
        made = Jamid(self, name, 100 + len(self.jamids))
        self.jamids.append(made)
        return made.start()

    def report(self, lines=60):
        out = [super().report(lines)]
        for jami in self.jamids:
            for log in sorted(jami.directory.glob("log.*"))[-1:]:
                out.append(f"---- {jami.name} {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
        return "\n".join(out)

    def close(self):
        for jami in self.jamids:
            jami.stop()
        super().close()


__all__ = ["JamiLab", "Jamid", "pathlib", "why_not"]
