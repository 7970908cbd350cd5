# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of networks that people are behind: what their routers do, as rules of nftables, and what physics allows between two
of them. Nothing here runs anything."""

# What each kind is, in words.
KINDS = {
    "none": "no router: a public IPv4 address",
    "none6": "no router: a public IPv6 address alone",
    "dual": "no router: both",
    "port": "a usual home router: one outside port for all peers, lets in whom was written to (address and port)",
    "addr": "the same, and lets in any port of an address that was written to",
    "full": "full cone: lets in whoever knows the outside port",
    "sym": "symmetric: another outside port for each peer",
    "double": "a home router behind another one",
    "carriers": "a home router behind two carriers in a row",
    "short": "a usual one that forgets UDP after 10 s",
    "many": "a usual one whose host is one of three, each with a daemon of its own on the same port",
    "noudp": "a usual one that lets no UDP out",
    "web": "lets out the ports 443 and 53 alone, and drops the rest",
    "webrst": "the same, and says so",
    "hp": "both behind one carrier whose router takes what goes to its own outside back in",
    "nohp": "both behind one carrier that does not",
    "lan": "both behind one router, on one LAN",
    "v6fw": "IPv6 behind a firewall that lets nobody in unasked",
    "dual6": "that, and IPv4 behind a usual router",
    "broken4": "that, and IPv4 that leads nowhere",
    "nat64": "IPv6 alone, and IPv4 through a translator (tayga)",
    "portrej": "a usual one that answers unasked packets with a reset",
    "symrej": "a symmetric one that does",
}

# Kinds that make one place for both hosts.
SHARED = ("hp", "nohp", "lan")

# ---- rules ----

HEAD = """table ip f {{
 chain in {{
  type filter hook input priority 0; policy accept;
  iifname "wan" ct state established,related accept
  iifname "wan" ip protocol icmp accept
  iifname "wan" drop
 }}
 chain fw {{
  type filter hook forward priority 0; policy accept;
{extra}
  iifname "wan" ct state established,related accept
  iifname "wan" ct status dnat accept
  iifname "wan" drop
 }}
}}
"""
# A router drops what nobody asked for. One that answers (HEAD left out) leaves an entry of its connection tracking behind, which
# takes the port that the host's own packet to that peer should leave by: that is what portrej and symrej are about.

MASQUERADE = """table ip n {{
 chain s {{
  type nat hook postrouting priority srcnat; policy accept;
  oifname "wan" masquerade {how}
 }}
}}
"""

# The mapping of each connection that began inside is learnt behind the translation, where the source port is the outside one.
CONE = """table ip n {{
 map u {{ type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 120s; size 65535; }}
 map t {{ type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 7200s; size 65535; }}
 set pu {{ type inet_service . ipv4_addr; flags dynamic,timeout; timeout 120s; size 65535; }}
 set pt {{ type inet_service . ipv4_addr; flags dynamic,timeout; timeout 7200s; size 65535; }}
 chain s {{
  type nat hook postrouting priority srcnat; policy accept;
  oifname "wan" masquerade
  {back}
 }}
 chain learn {{
  type filter hook postrouting priority srcnat + 10; policy accept;
  {of} ct direction original meta l4proto udp update @u {{ udp sport : ct original ip saddr . ct original proto-src }}{keep_u}
  {of} ct direction original meta l4proto tcp tcp flags syn update @t {{ tcp sport : ct original ip saddr . ct original proto-src }}{keep_t}
 }}
 chain d {{
  type nat hook prerouting priority dstnat; policy accept;
  {to} meta l4proto udp {known_u} dnat ip to udp dport map @u
  {to} meta l4proto tcp {known_t} dnat ip to tcp dport map @t
 }}
}}
"""

WEB = """  oifname "wan" ct state new tcp dport { 443, 53 } accept
  oifname "wan" ct state new udp dport 53 accept
"""

FIREWALL6 = """table ip6 f {
 chain in {
  type filter hook input priority 0; policy accept;
  iifname "wan" ct state established,related accept
  iifname "wan" icmpv6 type != echo-request accept
  iifname "wan" drop
 }
 chain fw {
  type filter hook forward priority 0; policy accept;
  iifname "wan" ct state established,related accept
  iifname "wan" icmpv6 type != echo-request accept
  iifname "wan" drop
 }
}
"""


def cone(of, to, back="", by_address=False):
    return CONE.format(
        of=of, to=to, back=back,
        keep_u=" update @pu { udp sport . ip daddr }" if by_address else "",
        keep_t=" update @pt { tcp sport . ip daddr }" if by_address else "",
        known_u="udp dport . ip saddr @pu" if by_address else "", known_t="tcp dport . ip saddr @pt" if by_address else "")


def rules(kind, outside=""):
    """What nft reads in the namespace of a router of that kind, whose outer device is `wan`. `outside`: its address there."""
    plain = MASQUERADE.format(how="")
    head = HEAD.format(extra="")
    if kind in ("port", "short", "many", "lan"):
        return head + plain
    if kind == "sym":
        return head + MASQUERADE.format(how="fully-random")
    if kind == "portrej":
        return plain
    if kind == "symrej":
        return MASQUERADE.format(how="fully-random")
    if kind in ("full", "addr"):
        return head + cone('oifname "wan"', 'iifname "wan"', by_address=kind == "addr")
    if kind == "noudp":
        return HEAD.format(extra='  oifname "wan" meta l4proto udp drop') + plain
    if kind == "web":
        return HEAD.format(extra=WEB + '  oifname "wan" ct state new drop') + plain
    if kind == "webrst":
        return HEAD.format(extra=WEB + '  oifname "wan" ct state new meta l4proto tcp reject with tcp reset\n'
                           '  oifname "wan" ct state new reject with icmp admin-prohibited') + plain
    if kind == "broken4":
        return HEAD.format(extra='  oifname "wan" drop') + plain
    if kind == "hp":
        return head + cone(f"ip saddr {outside}", f'iifname != "wan" ip daddr {outside}',
                           back=f'oifname != "wan" ct status dnat snat to {outside}')
    if kind == "nohp":
        return HEAD.format(extra=f"  ip daddr {outside} drop") + plain
    if kind == "v6fw":
        return FIREWALL6
    raise ValueError(kind)


# ---- physics ----

OPEN = {"none": "4", "none6": "6", "dual": "46"}
# One outside port whatever the peer, and answers are let in.
CONES = ("port", "addr", "full", "double", "carriers", "short", "many", "noudp", "portrej", "dual6", "hp")
WALLED6 = ("v6fw", "dual6", "broken4", "nat64")
SYMMETRIC = ("sym", "symrej")
ANSWERING = ("portrej", "symrej")
WEBS = ("web", "webrst")
# Nobody may be asked by UDP: not the DHT either.
NO_DHT = ("noudp", "web", "webrst")
# What physics allows, from the best to the worst.
WAYS = ("direct", "punched", "relay")


def families(kind):
    if kind in ("none6", "v6fw", "broken4", "nat64"):
        return "6"
    return "46" if kind in ("dual", "dual6") else "4"


def physics(a, b):
    """The best way that there is between hosts of these kinds: "direct", "punched", "relay"."""
    if "lan" in (a, b):
        return "direct"
    if a in SHARED or b in SHARED:
        # The same carrier, twice: whoever does not take its own back in keeps the two apart.
        return "punched" if a == b == "hp" else "relay"
    best = "relay"
    for family in set(families(a)) & set(families(b)):
        way = of_family(a, b, family)
        best = min(best, way, key=WAYS.index)
    # A translator of IPv6 takes its host to every public IPv4 address.
    if "nat64" in (a, b) and "4" in OPEN.get(a if b == "nat64" else b, ""):
        best = "direct"
    return best


def of_family(a, b, family):
    if a in WEBS or b in WEBS:
        return "relay"  # out by 443 alone, and nobody in
    if family in OPEN.get(a, "") or family in OPEN.get(b, ""):
        return "direct"
    if family == "6":
        return "punched" if a in WALLED6 and b in WALLED6 else "relay"
    if a in CONES and b in CONES:
        return "relay" if a in ANSWERING and b in ANSWERING else "punched"
    # One whose port nobody can know calls one who lets in any port.
    return "punched" if {a, b} & set(SYMMETRIC) and {a, b} & {"full", "addr"} else "relay"
