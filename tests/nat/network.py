# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of namespaces: two hosts `a` and `b`, their routers, and the internet `P` between them.

Everything is in namespaces of this process's own (see own_world): network, mounts, processes. When it ends, however it ends, the
kernel takes all of it away.
"""
import ctypes
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys

import kinds

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("CONND_BUILD", HERE.parents[1] / "build" / "release"))
WAN_LINK = os.environ.get("CONND_WAN_LINK") or str(BUILD / "tests/nat/wan_link")

# Of no registry's special-purpose addresses: miniupnpd and others refuse to map those.
PUBLIC = "11.0.113."
PUBLIC6 = "2001:db8:113::"
DHT_PORT = 4222
# Each wide-area link: a usual one of a home.
RTT_MS, MBIT_S, QUEUE_MS = 20, 200, 100

SKIP = 77  # as ctest knows it
INSIDE = "CONND_NAT_INSIDE"  # set in a world of our own
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """What is needed is not here: a sentence for people."""


def run(*command, text=None, check=True):
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def unshare_command():
    """What to put before a command so that it has namespaces of its own: as root, or as a user, where user namespaces allow."""
    for program in ("unshare", "ip", "nft"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise Refused(f"the program {program} is not installed")
    command = UNSHARE if os.geteuid() == 0 else [UNSHARE[0], "--user", "--map-root-user", *UNSHARE[1:]]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise Refused("no namespaces of one's own are allowed here: " + tried.stderr.strip())
    return command


def end_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def check_programs():
    """That what runs in a network is built."""
    built = {"CONND_DAEMON": "daemon/jami-connd", "CONND_CTL": "tools/jami-connctl", "CONND_MAKE_IDENTITY": "tests/make_identity",
             "CONND_WAN_LINK": "tests/nat/wan_link"}
    for variable, place in built.items():
        path = os.environ.get(variable) or str(BUILD / place)
        if not os.access(path, os.X_OK):
            sys.exit(f"there is no {path}: build it, or name the build's directory by CONND_BUILD")


def environment_inside():
    return os.environ | {INSIDE: "1", "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"}


def own_world(arguments):
    """Makes this process's namespaces its own world; starts the program again in some, if it has none yet: its exit code then."""
    if os.environ.get(INSIDE):
        end_with_parent()
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        os.makedirs("/run/netns")
        return None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other one is in our group, and hears of it itself
    world = subprocess.Popen([*unshare_command(), sys.executable, *arguments], env=environment_inside(),
                             preexec_fn=end_with_parent)
    signal.signal(signal.SIGTERM, lambda *_: world.kill())
    return world.wait()


class Network:
    """One of two kinds, set up. `hosts`: the namespaces of a and b, and their addresses are `inner`. Of `P` there is one address
    of each family, at which the DHT's first node is to be."""

    def __init__(self, a, b, rtt_ms=RTT_MS, mbit_s=MBIT_S, loss=0.0):
        self.kinds = (a, b)
        self.links = []  # (namespace, device, our address at P's end: device)
        self.settings = [str(rtt_ms), str(mbit_s), str(loss), str(QUEUE_MS)]
        self.relay = None
        self.children = []  # of whom nobody hears; they end with this world
        self.slow = os.access("/dev/net/tun", os.R_OK | os.W_OK)  # else links are cables without a delay
        self.siblings = []  # further hosts
        self.routers = []
        if any(kind in kinds.SHARED for kind in (a, b)) and a != b:
            raise Refused(f"{a} and {b}: {a} is a place that both share")
        if "nat64" in (a, b) and not shutil.which("tayga"):
            raise Refused("nat64 needs the program tayga (Debian's package of that name)")
        self._internet()
        if a in ("hp", "nohp", "lan"):
            self._router("c", a, 30)
        self._place("a", a, 1)
        self._place("b", b, 2)
        self._start_links()
        self._await_carrier()

    # -- parts --

    def _namespace(self, name, forwards=False):
        run("ip", "netns", "add", name)
        settings = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0", "net.ipv4.conf.all.rp_filter=0",
                    "net.ipv4.conf.default.rp_filter=0"]
        if forwards:
            settings += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.send_redirects=0",
                         "net.ipv4.conf.default.send_redirects=0"]
        run("ip", "netns", "exec", name, "sysctl", "-qw", *settings)
        self.ip(name, "link set lo up")

    @staticmethod
    def ip(name, *lines):
        run("ip", "-n", name, "-batch", "-", text="\n".join(lines) + "\n")

    def _cable(self, one, device, other, other_device):
        run("ip", "link", "add", device, "netns", one, "type", "veth", "peer", "name", other_device, "netns", other)
        self.ip(one, f"link set {device} up")
        self.ip(other, f"link set {other_device} up")

    def _internet(self):
        self._namespace("P", forwards=True)
        # Whatever has no route there vanishes, silently, as private addresses do.
        self.ip("P", "link add sink type veth peer name hole", "link set sink up", "link set hole up",
                f"addr add {PUBLIC}1/32 dev lo", f"addr add {PUBLIC6}1/128 dev lo nodad", "addr add 198.18.0.1/30 dev sink",
                "neigh add 198.18.0.2 lladdr 02:00:00:00:00:01 dev sink", f"route add default via 198.18.0.2 src {PUBLIC}1",
                "neigh add fe80::dead lladdr 02:00:00:00:00:01 dev sink",
                f"route add default via fe80::dead dev sink src {PUBLIC6}1")

    def _wide(self, name, number, four=True, six=None):
        """`wan` of a namespace: a link to the internet, with the public addresses of that number. `six`: a network behind it."""
        far = f"p{name}"
        at_home, at_p = [], []
        if four:
            at_home += [f"addr add {PUBLIC}{number}/32 dev wan", f"route add {PUBLIC}1/32 dev wan",
                        f"route add default via {PUBLIC}1 dev wan onlink"]
            at_p += [f"route add {PUBLIC}{number}/32 dev {far} src {PUBLIC}1"]
        if six is not None:
            at_home += ["addr add fe80::2/64 dev wan nodad", f"addr add {PUBLIC6}{number}/128 dev wan nodad",
                        f"route add default via fe80::1 dev wan src {PUBLIC6}{number}"]
            at_p += ["addr add fe80::1/64 dev " + far + " nodad", f"route add {PUBLIC6}{number}/128 dev {far} src {PUBLIC6}1"]
            if six:
                at_p += [f"route add {six} via fe80::2 dev {far} src {PUBLIC6}1"]
        self.links.append((name, far, at_home, at_p))

    def _router(self, name, kind, number, wide=True):
        """A router of that kind; `wide`: to the internet."""
        self._namespace(name, forwards=True)
        self.routers.append(name)
        six = f"2001:db8:{number}::/64" if kind in kinds.WALLED6 else None
        if wide:
            self._wide(name, number, four=kind != "v6fw", six=six)
        four = {"dual6": "port", "carriers": "port", "double": "port", "nat64": "port"}.get(kind, kind)
        if four != "v6fw":
            self._load(name, kinds.rules(four, f"{PUBLIC}{number}"))
        if kind in kinds.WALLED6:
            self._load(name, kinds.FIREWALL6)
        if kind == "nat64":
            self._translator(name, number)
        if kind == "short":
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=10",
                "net.netfilter.nf_conntrack_udp_timeout_stream=10")

    def _translator(self, name, number):
        """Takes the hosts behind it to public IPv4 addresses, as 64:ff9b::/96 (RFC 6052)."""
        room = pathlib.Path("/run/tayga") / name
        room.mkdir(parents=True)
        (room / "conf").write_text(
            f"tun-device nat64\nipv4-addr 192.168.255.1\nipv6-addr 2001:db8:{number}:64::1\nprefix 64:ff9b::/96\n"
            f"dynamic-pool 192.168.255.0/24\ndata-dir {room}\n", encoding="ascii")
        run("ip", "netns", "exec", name, "tayga", "-c", str(room / "conf"), "--mktun")
        self.ip(name, "link set nat64 up", "addr add 192.168.255.254/32 dev nat64", "route add 192.168.255.0/24 dev nat64",
                "route add 64:ff9b::/96 dev nat64")
        self.children.append(subprocess.Popen(["ip", "netns", "exec", name, "tayga", "-c", str(room / "conf"), "--nodetach"],
                                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    @staticmethod
    def _load(name, text):
        run("ip", "netns", "exec", name, "nft", "-f", "-", text=text)

    def _behind(self, host, router, number, four=True, six=False, bridge=False):
        """A host on a LAN of a router."""
        self._namespace(host)
        inside = f"lan{host}"
        if bridge:
            self._bridge(router)
            self._cable(router, inside, host, "eth0")
            self.ip(router, f"link set {inside} master lan")
            self.ip(host, f"addr add 192.168.9.{number + 1}/24 dev eth0", "route add default via 192.168.9.1")
            return
        self._cable(router, inside, host, "eth0")
        if four:
            self.ip(router, f"addr add 192.168.{number}.1/24 dev {inside}")
            self.ip(host, f"addr add 192.168.{number}.2/24 dev eth0", f"route add default via 192.168.{number}.1")
        if six:
            net = f"2001:db8:{number}0::"
            self.ip(router, f"addr add {net}1/64 dev {inside} nodad")
            self.ip(host, f"addr add {net}2/64 dev eth0 nodad", f"route add default via {net}1")

    def _bridge(self, router):
        if "lan" not in run("ip", "-n", router, "-br", "link").split():
            self.ip(router, "link add lan type bridge", "link set lan up", "addr add 192.168.9.1/24 dev lan")

    def _chain(self, outer, inner, number, net):
        """A router behind another one."""
        self._cable(outer, f"lan{inner}", inner, "wan")
        self.ip(outer, f"addr add {net}.{number}.1/24 dev lan{inner}")
        self.ip(inner, f"addr add {net}.{number}.2/24 dev wan", f"route add default via {net}.{number}.1")

    def _place(self, host, kind, side):
        number, router = side * 10, "r" + host
        if kind in kinds.OPEN:
            self._namespace(host)
            family = kinds.OPEN[kind]
            self._wide(host, number, "4" in family, "" if "6" in family else None)
        elif kind in ("hp", "nohp"):
            self._router(router, "port", number, wide=False)
            self._chain("c", router, side, "100.64")
            self._behind(host, router, side)
        elif kind == "lan":
            self._behind(host, "c", side, bridge=True)
        elif kind in ("double", "carriers"):
            self._router("q" + host, kind, number)
            outer = "q" + host
            if kind == "carriers":
                self._router("s" + host, "port", number, wide=False)
                self._chain(outer, "s" + host, side, "100.65")
                outer = "s" + host
            self._router(router, "port", number, wide=False)
            self._chain(outer, router, side, "100.64")
            self._behind(host, router, side)
        elif kind == "many":
            self._router(router, kind, number)
            self._behind(host, router, 1, bridge=True)
            for i in (2, 3):
                self._behind(f"{host}{i}", router, i, bridge=True)
                self.siblings.append(f"{host}{i}")
        else:
            self._router(router, kind, number)
            self._behind(host, router, side, four=kind not in ("v6fw", "nat64"), six=kind in kinds.WALLED6)

    # -- wide-area links --

    def _start_links(self):
        if self.slow:
            command = [WAN_LINK, *self.settings, *(f"{name}:wan:P:{far}" for name, far, _, _ in self.links)]
            self.relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                                          preexec_fn=end_with_parent)
            if self.relay.stdout.readline() != "ready\n":
                raise RuntimeError("wan_link ended: " + str(self.relay.wait()))
        for name, far, at_home, at_p in self.links:
            if not self.slow:
                run("ip", "link", "add", "wan", "netns", name, "type", "veth", "peer", "name", far, "netns", "P")
            self.ip(name, "link set wan addrgenmode none", "link set wan up txqueuelen 2000", *at_home)
            self.ip("P", f"link set {far} addrgenmode none", f"link set {far} up txqueuelen 2000", *at_p)

    def _await_carrier(self):
        """libnice passes over interfaces that are not running yet."""
        for host in ("a", "b"):
            for _ in range(500):
                if "LOWER_UP" in run("ip", "-n", host, "-o", "link", "show", "up").split("lo:")[-1]:
                    break
                select.select([], [], [], 0.01)

    def bootstrap(self):
        """Where the DHT's first node is, for a host of any kind."""
        return [f"{PUBLIC}1:{DHT_PORT}", f"[{PUBLIC6}1]:{DHT_PORT}"]

    def public_address(self, host):
        """Where others see it; of those that have both, the IPv6 one."""
        kind = self.kinds["ab".index(host)]
        number = 30 if kind in kinds.SHARED else 10 * (1 + "ab".index(host))
        if "6" not in kinds.families(kind):
            return f"{PUBLIC}{number}"
        return f"{PUBLIC6}{number}" if kind in kinds.OPEN else f"2001:db8:{number}::2"

    def links_report(self):
        """Ends the links; what they say they have carried."""
        if not self.relay:
            return ""
        self.relay.terminate()
        return self.relay.communicate()[0]
