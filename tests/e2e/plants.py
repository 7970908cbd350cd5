# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who certifies other people's keys, and puts what comes of it on the DHT (tests/peer/plant_chain.cpp)."""
import os

from harness import BUILD, run
from puppet import Puppet

PLANTER = os.environ.get("CONND_PLANT_CHAIN") or str(BUILD / "tests/peer/plant_chain")
EXPIRED = ("200101000000Z", "210101000000Z")
NOT_YET = ("480101000000Z", "490101000000Z")
GOOD = ("200101000000Z", "490101000000Z")

CONFIG = """[ca]
default_ca = here
[here]
new_certs_dir = {directory}
database = {directory}/index.txt
serial = {directory}/serial
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
[device]
keyUsage = critical,digitalSignature,keyEncipherment
"""


class Planter:
    """Its account is its own; whose key it certifies does not matter: the public key is all that it takes of it."""

    def __init__(self, lab, name="planter"):
        self.lab = lab
        self.directory = lab.directory / name
        self.directory.mkdir()
        self.account = self.directory / "account.pem"
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(self.directory / "account.key"), "-out",
            str(self.account), "-subj", "/CN=planter", "-days", "3000", "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
            "keyUsage=critical,keyCertSign,cRLSign")
        self.puppet = Puppet(lab, name, PLANTER, lab.dht_address())
        self.puppet.expect("connected")
        self.made = 0

    @property
    def account_id(self):
        """SHA-1 of its key (PROTOCOL.md 2)."""
        key = run("openssl", "x509", "-in", str(self.account), "-noout", "-pubkey")
        (self.directory / "key.pem").write_text(key)
        run("openssl", "pkey", "-pubin", "-in", str(self.directory / "key.pem"), "-outform", "der", "-out", str(self.directory / "key.der"))
        return run("sha1sum", str(self.directory / "key.der")).split()[0]

    def certify(self, node, dates=GOOD, account=None, account_key=None):
        """A chain for a node's key, in PEM, and its file: of this account, or of that whose files are given."""
        self.made += 1
        here = self.directory / str(self.made)
        here.mkdir()
        account = account or self.account
        (here / "index.txt").write_text("")
        (here / "serial").write_text("42\n")
        (here / "ca.conf").write_text(CONFIG.format(directory=here))
        run("openssl", "req", "-new", "-key", str(node.state / "identity" / "device.key"), "-subj", "/CN=device", "-out", str(here / "csr.pem"))
        run("openssl", "ca", "-batch", "-notext", "-config", str(here / "ca.conf"), "-cert", str(account), "-keyfile",
            str(account_key or self.directory / "account.key"), "-in", str(here / "csr.pem"), "-out", str(here / "leaf.pem"),
            "-startdate", dates[0], "-enddate", dates[1], "-extensions", "device")
        chain = here / "chain.pem"
        chain.write_text((here / "leaf.pem").read_text() + account.read_text())
        return chain

    def put(self, chain, *places):
        """Where jami-connd looks for the chain of that key; how many of the places took it."""
        took = 0
        for place in places or ("own", "short", "long"):
            self.puppet.say("put", place, chain)
            took += self.puppet.expect("") == "stored"
        return took
