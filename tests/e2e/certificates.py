# SPDX-License-Identifier: GPL-3.0-or-later
"""Revocation lists, made by OpenSSL's own tool from the keys in a state directory."""
import re

from harness import run

CONFIG = """[ca]
default_ca = here
[here]
database = {directory}/index.txt
default_md = sha256
default_crl_days = 30
"""
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)


def split(chain):
    """The certificates of a chain, leaf first."""
    return CERTIFICATE.findall(chain)


def serial(certificate):
    return run("openssl", "x509", "-noout", "-serial", input=certificate).strip().split("=")[1]


def make_crl(directory, issuer, issuer_key, certificates):
    """A list, in PEM, by which `issuer` (PEM; its key's path) takes back `certificates`."""
    directory.mkdir(exist_ok=True)
    (directory / "issuer.pem").write_text(issuer)
    (directory / "ca.conf").write_text(CONFIG.format(directory=directory))
    lines = [f"R\t491231235959Z\t240101000000Z\t{serial(one)}\tunknown\t/CN=x\n" for one in certificates]
    (directory / "index.txt").write_text("".join(lines))
    run("openssl", "ca", "-gencrl", "-config", str(directory / "ca.conf"), "-cert", str(directory / "issuer.pem"),
        "-keyfile", str(issuer_key), "-out", str(directory / "crl.pem"))
    return (directory / "crl.pem").read_text()
