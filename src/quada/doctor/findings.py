"""Finding codes: what each means, why it matters on IPv6, how it is mended, and who says so."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Verdict(StrEnum):
    """UNKNOWN is what this vantage point could not tell: never a pass, never a failure."""

    FAIL = "FAIL"
    WARN = "WARN"
    UNKNOWN = "UNKNOWN"
    INFO = "INFO"
    PASS = "PASS"


class Rule(NamedTuple):
    """One check."""

    code: str
    group: str
    title: str
    why: str
    fix: str
    source: str


class Finding(NamedTuple):
    """What one check says of one subject, with its evidence."""

    code: str
    verdict: Verdict
    subject: str
    message: str
    evidence: tuple[str, ...] = ()

    @property
    def rule(self) -> Rule:
        """The check."""
        return RULES[self.code]


def _rules(*rules: Rule) -> dict[str, Rule]:
    return {rule.code: rule for rule in rules}


RULES: Final = _rules(
    Rule("vantage-ipv6", "vantage", "this machine reaches the DNS over IPv6",
         "A tester without IPv6 sees every IPv6 server as dead.",
         "mend this machine's IPv6, or run the check elsewhere", "RFC 8305 5"),
    Rule("vantage-ipv4", "vantage", "this machine reaches the DNS over IPv4",
         "Differences between families need both.", "run the check elsewhere", "our choice"),
    Rule("vantage-mtu", "vantage", "full packets leave this machine over IPv6",
         "What is lost here would be taken for a fault of the domain.",
         "let ICMPv6 type 2 through here", "RFC 8200 5, RFC 8201 4"),
    Rule("vantage-own", "vantage", "the domain is looked at from another machine than its servers",
         "A server that asks itself passes no router and no firewall: what it sees is no outside.",
         "run the check elsewhere too, or from an agent", "our choice"),
    Rule("ns-ipv6-count", "delegation", "at least two name servers have IPv6",
         "With no name server on IPv6 an IPv6-only resolver cannot find the zone.",
         "give a second name server an AAAA record and glue", "RFC 3901, RFC 2182 5"),
    Rule("glue-ipv6-missing", "delegation", "the parent gives AAAA glue for in-domain servers",
         "The address of a server inside the zone can be learnt from the parent alone.",
         "have the registrar add the AAAA to the host object", "RFC 9471 2"),
    Rule("glue-differs", "delegation", "glue is what the zone itself says",
         "Resolvers that use stale glue go to a machine that is not there.",
         "change the host object at the registrar to the zone's addresses", "RFC 1912 2.3"),
    Rule("glue-only", "delegation", "the zone itself has its servers' AAAA",
         "Resolvers that look the address up again find nothing and drop IPv6.",
         "add the AAAA record in the zone", "RFC 1034 4.2.2"),
    Rule("ns-sets-differ", "delegation", "parent and zone name the same servers",
         "Servers that one side does not name are used by chance or not at all.",
         "align registrar and zone", "RFC 1034 4.2.2, RFC 7477"),
    Rule("ns-target", "delegation", "NS records name hosts",
         "A server that is an alias, or has no address, cannot be asked.",
         "name a host with AAAA and A records", "RFC 2181 10.3"),
    Rule("ns-address-class", "delegation", "servers have global IPv6 addresses",
         "Such an address does not reach anybody on the Internet.",
         "use a global unicast address", "RFC 6890"),
    Rule("referral-size", "delegation", "the referral fits 512 octets",
         "Larger referrals lose glue or need TCP.", "fewer or shorter server names", "RFC 9471 2"),
    Rule("referral-truncated", "delegation", "a referral that does not fit comes over TCP",
         "Resolvers cannot learn the addresses of the zone's servers.",
         "the parent's operator must open TCP 53; fewer or shorter server names help",
         "RFC 9471 3, RFC 7766 5"),
    Rule("ns-diversity", "delegation", "IPv6 servers stand in more than one network",
         "One broken route takes all of them away.",
         "place a server in another network", "RFC 2182 3.1"),
    Rule("server-udp-ipv6", "servers", "servers answer over IPv6 and UDP",
         "Resolvers that prefer IPv6 wait, and IPv6-only ones fail.",
         "listen on [::], open UDP 53 over IPv6", "RFC 1035 4.2.1, RFC 3901"),
    Rule("server-tcp-ipv6", "servers", "servers answer over IPv6 and TCP",
         "Truncated answers need TCP.", "open TCP 53 over IPv6", "RFC 7766 5"),
    Rule("server-dead", "servers", "servers answer at all",
         "A server that is dead over both families is no IPv6 matter, but a fault.",
         "mend the server or take it out of the NS set", "RFC 1034 4.2.2"),
    Rule("server-udp-ipv4", "servers", "servers answer over IPv4",
         "IPv4-only resolvers fail.", "open port 53 over IPv4", "RFC 3901"),
    Rule("server-slow-ipv6", "servers", "servers answer as fast over IPv6 as over IPv4",
         "Resolvers choose by time, and IPv6-only ones cannot choose.",
         "look at the IPv6 route to the server", "RFC 8305 1"),
    Rule("edns", "servers", "servers take EDNS over IPv6",
         "Without EDNS there is no DNSSEC and no larger answer.",
         "upgrade the server, or the middlebox before it", "RFC 6891 7"),
    Rule("edns-unknown", "servers", "servers bear EDNS that they do not know",
         "Who drops what is new keeps new options from everybody behind it.",
         "upgrade the server, or the middlebox before it", "RFC 6891 6.1.2, 6.1.3"),
    Rule("large-answers", "servers", "large answers arrive over IPv6",
         "IPv6 routers do not fragment: an answer that is too large is lost in silence.",
         "cap UDP at 1232 octets and let ICMPv6 type 2 through", "RFC 9715, RFC 8200 5"),
    Rule("tcp-stalls", "servers", "large answers arrive over IPv6 and TCP",
         "A connection that opens and then stands still is a path that loses large packets and the"
         " message that says so.",
         "let ICMPv6 type 2 through, or clamp the MSS of port 53 to 1220", "RFC 8201 4, RFC 4890"),
    Rule("tcp-large", "servers", "more than 5,000 octets arrive over IPv6 and TCP",
         "Zone data grows, by new keys at the latest: a path that stops long messages shows late.",
         "none, where the zone has no larger answer; see tcp-stalls", "RFC 7766 5, RFC 8201 4"),
    Rule("segment-size", "servers", "servers take segments that fit tunnels, too",
         "Segments of 1440 octets depend on path MTU discovery, which many paths break.",
         "clamp the MSS of port 53 between 1220 and 1388", "RFC 8201 4, draft-ietf-dnsop-3901bis"),
    Rule("aaaa-dropped", "servers", "servers answer AAAA as they answer A",
         "Clients wait for the AAAA answer before they connect.",
         "mend the server or load balancer", "RFC 4074"),
    Rule("aaaa-slow", "servers", "AAAA is answered as fast as A",
         "A client that has A already waits 50 ms for AAAA, and then takes IPv4.",
         "mend the server or load balancer", "RFC 8305 3"),
    Rule("open-recursion", "servers", "authoritative servers do not recurse for strangers",
         "An open resolver serves attacks; one open on IPv6 alone is an ACL without IPv6.",
         "recursion no; mind the IPv6 access list", "RFC 5358"),
    Rule("case-altered", "servers", "the question's case comes back",
         "Resolvers that check the case drop such answers.", "upgrade the server", "RFC 4343"),
    Rule("upward-referral", "servers", "servers refuse what is not theirs",
         "A referral to the root serves attacks, and tells nobody anything.",
         "refuse questions for other zones", "RFC 9499 4, Zonemaster NAMESERVER07"),
    Rule("transfer-open", "servers", "strangers may not transfer the zone",
         "An access list that forgot IPv6 gives the zone away.",
         "allow transfers by key or prefix, IPv6 too", "RFC 5936 6"),
    Rule("aaaa-missing", "data", "the name has AAAA",
         "IPv6-only clients cannot reach it without translation.", "add an AAAA record",
         "RFC 3596 2.1"),
    Rule("aaaa-address-class", "data", "AAAA records hold global addresses",
         "The address does not reach the service.", "use a global unicast address", "RFC 6890"),
    Rule("serial-differs", "data", "servers have the same serial over both families",
         "Over one family clients get old data.",
         "let NOTIFY and transfers through over that family", "RFC 1034 4.3.5"),
    Rule("data-differs", "data", "servers give the same data over both families",
         "What a client sees depends on how it asked.", "look for views and split listeners",
         "RFC 1034 4.3.5"),
    Rule("https-hints", "data", "HTTPS records hint at IPv6 too",
         "Clients that follow hints connect before AAAA arrives.", "add ipv6hint",
         "RFC 9460 7.3"),
    Rule("ptr-missing", "reverse", "addresses have PTR records",
         "Mail and audit systems refuse hosts without one.", "add the PTR record",
         "RFC 1912 2.1"),
    Rule("ptr-unconfirmed", "reverse", "PTR and AAAA agree",
         "A PTR whose name does not lead back is not believed.", "align PTR and AAAA",
         "RFC 1912 2.1"),
    Rule("reverse-cut", "reverse", "somebody answers for the reverse names",
         "PTR records are changed by whoever runs this zone.",
         "put the way to ask them for changes in the runbook", "RFC 3596 2.5"),
    Rule("reverse-lame", "reverse", "servers of the reverse zone answer for it",
         "Every lookup of an address waits, and fails.",
         "configure the zone there, or have the delegation changed", "RFC 1912 2.8"),
    Rule("reverse-ipv6", "reverse", "the reverse zone has two servers with IPv6",
         "IPv6-only resolvers find no name for an IPv6 address, of all things.",
         "have a second server of the reverse zone get IPv6", "RFC 3901, RFC 2182 5"),
    Rule("reverse-differs", "reverse", "each server of the reverse zone has the same PTR",
         "What an address is called depends on whom was asked.",
         "let NOTIFY and transfers through to that server", "RFC 1034 4.3.5"),
    Rule("reverse-non-terminal", "reverse", "names above a PTR exist",
         "Resolvers that ask label by label, or believe in NXDOMAIN, stop above the record.",
         "upgrade the server: an empty non-terminal is NODATA", "RFC 8020 2, RFC 9156 2.3"),
    Rule("bogus-aaaa", "dnssec", "AAAA validates as A does",
         "AAAA fails while A works: clients fall back to IPv4 and nobody notices.",
         "sign the AAAA RRset again", "RFC 4035 5, RFC 8914"),
    Rule("bogus", "dnssec", "the name validates",
         "Validating resolvers answer SERVFAIL.", "mend signatures, keys or DS", "RFC 4035 5"),
    Rule("signature-expiry", "dnssec", "signatures last",
         "An expired signature is a bogus answer.", "sign again; look at the signer",
         "RFC 4035 5.3.1"),
    Rule("ds-mismatch", "dnssec", "every server has a key that the parent's DS names",
         "Validators that ask the server without it answer SERVFAIL.",
         "finish the rollover: the new key on every server, the old DS until then",
         "RFC 4035 5.2, RFC 6781 4.1"),
    Rule("server-bogus", "dnssec", "every server's answers validate, over both families",
         "One stale or damaged server makes the name fail for some, and now and then.",
         "let NOTIFY and transfers through to that server, over that family", "RFC 4035 5.3"),
    Rule("denial", "dnssec", "of a name without AAAA the zone proves that it has none",
         "Without the proof the answer is bogus; with a false one AAAA is believed to be there.",
         "sign the zone again; look at the signer", "RFC 4035 3.1.3.1, RFC 5155 7.2.3"),
    Rule("cds", "dnssec", "CDS and CDNSKEY ask the parent for what the zone has",
         "A parent that follows them takes the zone away, or never follows.",
         "publish CDS and CDNSKEY of keys that sign the zone, on every server",
         "RFC 7344 4, RFC 8078 4"),
    Rule("report-channel", "dnssec", "the zone says where errors are reported",
         "Of what fails for others, over IPv6 alone perhaps, nobody tells the zone's owner.",
         "name an agent by the EDNS option REPORTCHANNEL", "RFC 9567 6"),
    Rule("resolves-ipv6-only", "graph", "the name resolves over IPv6 alone",
         "Every zone that the name depends on must be reachable over IPv6.",
         "what the cut names must get an IPv6 address", "RFC 3901"),
    Rule("resolves-ipv4-only", "graph", "the name resolves over IPv4 alone",
         "IPv4-only resolvers still exist.", "what the cut names must get an IPv4 address",
         "RFC 3901"),
    Rule("resolves-ipv6-effort", "graph", "IPv6 alone costs no more questions than both families",
         "Resolvers bound how many questions a name may cost, and clients wait for each of them.",
         "give servers and those that their names depend on IPv6 addresses, and glue",
         "RFC 1034 5.3.3, RFC 3901"),
    Rule("single-point", "graph", "no single server carries the name over IPv6",
         "If it is away, the name is gone for IPv6-only clients.",
         "give another server IPv6", "RFC 2182 5"),
    Rule("unresolvable", "graph", "the name resolves at all",
         "It fails over both families: no IPv6 matter, but a fault.",
         "follow the delegation from the root", "RFC 1034 5.3.3"),
    Rule("fragments-dropped", "servers", "large UDP answers arrive over IPv6, or are truncated",
         "Routers do not fragment IPv6, and many paths drop fragments: the client waits, then"
         " tries again with less, or gives up.",
         "cap UDP at 1232 octets on the server; let fragments and ICMPv6 type 2 through",
         "RFC 9715 3, RFC 8900"),
    Rule("udp-too-large", "servers", "servers send no more than 1400 octets over IPv6 and UDP",
         "Such answers are fragmented; who loses them waits for a retry over TCP.",
         "cap UDP at 1232 octets on the server", "RFC 9715 3.1"),
    Rule("encrypted-ipv6", "encrypted", "encrypted endpoints answer over IPv6",
         "Clients with IPv6 alone stay without encryption, or without DNS where it is asked for.",
         "listen on [::], give the target AAAA, open 853 and 443 over IPv6", "RFC 9461, RFC 9462"),
    Rule("encrypted-dead", "encrypted", "encrypted endpoints that are told of answer",
         "Clients that follow the record wait for nothing.",
         "start the endpoint or take back its SVCB record", "RFC 9461 5, RFC 9462 4"),
    Rule("encrypted-certificate", "encrypted", "encrypted endpoints prove their name",
         "Strict clients refuse the connection.",
         "renew the certificate for the target's name, with its chain", "RFC 8310 8.1, RFC 9250 5"),
    Rule("encrypted-hints", "encrypted", "SVCB records hint at IPv6 too",
         "Clients that follow hints use IPv4 alone.", "add ipv6hint", "RFC 9460 7.3"),
    Rule("encrypted-offered", "encrypted", "servers speak TLS or QUIC unannounced",
         "Resolvers that try get privacy at no cost.", "listen for DoT and DoQ", "RFC 9539"),
    Rule("service-ipv6", "services", "services answer over IPv6 as over IPv4",
         "Who comes over IPv6 finds a closed door, or waits until its client tries IPv4.",
         "listen on [::]; open the port in the IPv6 firewall too", "RFC 8305 5"),
    Rule("service-address", "services", "every AAAA of a host leads to the service",
         "Clients take any of them; those that take the dead one wait.",
         "mend that address or remove its record", "RFC 8305 4"),
    Rule("web-differs", "services", "the web server is the same over both families",
         "Who comes over IPv6 sees another page, or an error.",
         "look for the default virtual host on IPv6", "RFC 9110 7.4"),
    Rule("web-certificate", "services", "the certificate is believed over both families",
         "Browsers refuse the page; they do not try IPv4 then.",
         "serve the same certificate on [::]", "RFC 9110 4.3.4"),
    Rule("happy-eyeballs", "services", "connections over IPv6 are not slower than over IPv4",
         "After 250 ms clients try IPv4 too, and IPv6 is used less than it is offered.",
         "look at the IPv6 route; do not remove the AAAA", "RFC 8305 5, 8"),
    Rule("mail-ipv6", "services", "a mail exchanger has AAAA",
         "Senders with IPv6 alone cannot deliver.", "add AAAA to an MX host", "RFC 5321 5.1"),
    Rule("service-aaaa", "services", "a host of each SRV or HTTPS record has AAAA",
         "Clients with IPv6 alone are sent to a host that they cannot reach.",
         "add AAAA to the target", "RFC 2782, RFC 9460 7.3"),
    Rule("target-ipv6-only", "services", "hosts of services elsewhere resolve over IPv6 alone",
         "The host has IPv6, and no resolver with IPv6 alone finds it.",
         "run quada doctor on the host's own zone", "RFC 3901"),
    Rule("resolver-answers", "resolver", "each resolver of this client answers",
         "Stubs wait five seconds for a dead one, each time.",
         "mend the resolver, or take it out of the list", "RFC 7766 5, resolv.conf(5)"),
    Rule("resolver-order", "resolver", "a resolver that answers stands first in the list",
         "Stubs ask in the list's order, wait five seconds for each, and ask three at the most.",
         "put what answers first", "resolv.conf(5)"),
    Rule("resolver-ipv6", "resolver", "a resolver is reached over IPv6",
         "A client that loses IPv4, or never had it, has no DNS.",
         "give clients a resolver's IPv6 address", "RFC 8106"),
    Rule("resolver-validates", "resolver", "resolvers validate DNSSEC",
         "Forged and broken answers are believed.", "turn validation on", "RFC 4035 4, RFC 9364"),
    Rule("resolver-nta", "resolver", "no negative trust anchor is in force",
         "What is below it is not validated until somebody remembers to take it away.",
         "take the negative trust anchor away once the zone is mended", "RFC 7646 1"),
    Rule("resolver-ede", "resolver", "resolvers say why they fail",
         "SERVFAIL alone does not tell broken signatures from a dead server.",
         "turn extended errors on", "RFC 8914"),
    Rule("resolver-six-outward", "resolver", "resolvers ask the world over IPv6",
         "Zones that are served over IPv6 alone do not resolve.",
         "let the resolver send over IPv6, and give its host a route", "RFC 3901"),
    Rule("resolver-open", "resolver", "resolvers do not recurse for strangers",
         "An open resolver serves attacks; one open on IPv6 alone is an ACL without IPv6.",
         "mind the IPv6 access list", "RFC 5358"),
    Rule("resolver-no-aaaa", "resolver", "AAAA records reach clients",
         "Clients with IPv6 use IPv4, and those with IPv6 alone nothing, by a filter.",
         "take the filter of AAAA away", "RFC 8914 4.18"),
    Rule("resolver-info", "resolver", "resolvers tell what they do",
         "Clients cannot know of filters and of errors that are explained.",
         "publish RESINFO", "RFC 9606 3"),
    Rule("resolver-ddr", "resolver", "resolvers designate encrypted endpoints",
         "Clients stay with plain DNS.", "publish _dns.resolver.arpa SVCB", "RFC 9462 4"),
    Rule("ddr-certificate", "resolver", "the endpoint's certificate holds the resolver's address",
         "Clients that know the address alone refuse the upgrade.",
         "issue the certificate for the address too", "RFC 9462 4.2"),
    Rule("dns64-prefix", "dns64", "resolvers tell one NAT64 prefix",
         "Clients translate to a prefix that leads nowhere.",
         "configure the same prefix on all", "RFC 7050 3, RFC 8880"),
    Rule("dns64-family", "dns64", "DNS64 is the same for clients of both families",
         "Some synthesize only for who asks over IPv6; over the other family nobody learns the"
         " prefix.",
         "synthesize for clients of both families: CoreDNS allow_ipv4", "RFC 6147 5.1, RFC 7050 3"),
    Rule("dns64-over-native", "dns64", "names with AAAA keep it",
         "Traffic that could go straight is sent through the translator.",
         "synthesize only where there is no AAAA", "RFC 6147 5.1.1"),
    Rule("dns64-masks", "dns64", "DNS64 does not hide a broken AAAA",
         "An outage of AAAA looks like success, over the translator.",
         "keep SERVFAIL where AAAA fails", "RFC 6147 5.1.2, 5.5"),
    Rule("dns64-signed", "dns64", "clients that validate get no synthesized answer",
         "With CD and DO they find it bogus.", "withhold synthesis there", "RFC 6147 5.5, 3"),
    Rule("dns64-reverse", "dns64", "synthesized addresses have a name",
         "Reverse lookups of translated hosts fail.", "answer PTR in the prefix", "RFC 6147 5.3.1"),
    Rule("nat64-path", "dns64", "the NAT64 prefix leads to IPv4",
         "Clients with IPv6 alone connect to nothing.", "look at the translator and its route",
         "RFC 6146"),
    Rule("client-fallback", "client", "a client whose IPv6 is lost goes on over IPv4 at once",
         "Where a path drops IPv6 the program stands still, and IPv6 is blamed for it.",
         "use a client library with happy eyeballs, or set its delay to 250 ms", "RFC 8305 5, 8"),
    Rule("client-family", "client", "a client that has both families takes IPv6",
         "Who takes IPv4 wherever there is some is the last to notice that IPv6 is broken.",
         "sort addresses as getaddrinfo does, IPv6 first", "RFC 6724 2.1, RFC 8305 4"),
    Rule("firewall-blocks", "firewall", "what is configured is reached from outside",
         "A listener that nobody reaches serves nobody; often IPv6 alone was forgotten.",
         "open the port for that family: quada firewall prints the rule", "RFC 4890, RFC 7766 5"),
    Rule("firewall-hole", "firewall", "what is not configured is not reached from outside",
         "A service that nobody meant to offer is there to be attacked, often over IPv6 alone.",
         "drop it: quada firewall --default-drop", "RFC 9099 4.1"),
    Rule("firewall-lets-through", "firewall", "closed ports are dropped, not refused",
         "Whoever listens there next is open to the world at once.",
         "drop it: quada firewall --default-drop", "our choice"),
    Rule("link-router", "link", "a router advertises itself",
         "Without advertisements clients have neither addresses nor routes.",
         "start radvd, dnsmasq or the router's own daemon on this link", "RFC 4861 6.2"),
    Rule("link-ra-invalid", "link", "advertisements are such that hosts take them",
         "Hosts drop a message with a fault, or the option, in silence.",
         "mend or upgrade what sends it", "RFC 4861 6.1.2"),
    Rule("link-routers-differ", "link", "routers of a link agree",
         "What a client gets depends on whom it heard last.",
         "align the routers, or silence the stranger (RA guard, RFC 6105)", "RFC 4861 6.2.7"),
    Rule("link-prefix", "link", "autonomous prefixes are 64 bits long",
         "Clients make no address of another length.", "advertise a /64", "RFC 4862 5.5.3"),
    Rule("link-mtu", "link", "the MTU is at least 1280",
         "IPv6 does not work over less.", "advertise 1280 or more", "RFC 8200 5"),
    Rule("o-bit-trap", "link", "M or O comes with RDNSS",
         "Android and ChromeOS take resolvers from RDNSS alone: an address and no DNS.",
         "add RDNSS to the advertisement, always", "RFC 8106 5.3.1"),
    Rule("address-without-resolver", "link", "who gets an address gets a resolver",
         "Without DHCPv6 RDNSS is the only way to tell of a resolver.",
         "add RDNSS to the advertisement", "RFC 8106 1"),
    Rule("dhcpv6-only-addresses", "link", "clients without DHCPv6 get an address",
         "Android and ChromeOS make addresses by SLAAC alone.",
         "advertise an autonomous /64 beside DHCPv6", "RFC 7934 3"),
    Rule("rdnss-lifetime", "link", "resolvers outlive lost advertisements",
         "A lifetime shorter than the interval leaves clients without resolver between two.",
         "three times MaxRtrAdvInterval or more", "RFC 8106 5.1"),
    Rule("dhcpv6-dns", "link", "DHCPv6 names a resolver where routers send clients there",
         "A reply without option 23, or none, is an address without DNS.",
         "serve option 23, or clear the flag", "RFC 3646 3"),
    Rule("dhcpv6-address", "link", "DHCPv6 gives the address it is asked for",
         "Clients that need it stay without.", "look at the server's pools", "RFC 8415 18.3.1"),
    Rule("dhcpv6-invalid", "link", "DHCPv6 messages can be read",
         "Clients drop a message with a fault.", "mend or upgrade the server", "RFC 8415 16"),
    Rule("rdnss-dhcpv6-differ", "link", "RDNSS and DHCPv6 name the same resolvers",
         "Clients of one link see different answers.", "align both", "RFC 8106 5.3.1"),
    Rule("link-resolver", "link", "each advertised resolver answers",
         "Stubs wait five seconds for a dead one, each time.",
         "mend the resolver or stop advertising it", "RFC 8106 7.2"),
    Rule("resolver-scope", "link", "resolvers have more than a link-local address",
         "A link-local address needs a zone, which many stubs lose.",
         "advertise a global or unique local address", "RFC 4007 6"),
    Rule("resolver-count", "link", "no more than three resolvers are offered",
         "Stubs use the first three.", "put two good ones first", "RFC 8106 5.3.1"),
    Rule("pref64", "link", "router and DNS64 tell the same NAT64 prefix",
         "Clients translate to a prefix that leads nowhere.",
         "align PREF64 and DNS64", "RFC 8781 4, RFC 7050 3"),
    Rule("dnr", "link", "encrypted resolvers are told with a name to authenticate",
         "Clients use none that they cannot authenticate.",
         "give ADN, addresses and ALPN", "RFC 9463 4.1, 6.1"),
)  # fmt: skip


_ORDER: Final = {verdict: at for at, verdict in enumerate(Verdict)}


def sort_findings(findings: list[Finding]) -> list[Finding]:
    """Put the worst first."""
    return sorted(findings, key=lambda one: _ORDER[one.verdict])


def profiled(findings: list[Finding], profile: dict[str, Verdict | None]) -> list[Finding]:
    """Give findings with the verdicts of a profile in place of ours; None leaves a code out.

    A profile says how bad something is: what passes still passes, what is unknown stays so.
    """
    out = []
    for one in findings:
        is_said = one.code in profile and one.verdict in (Verdict.FAIL, Verdict.WARN, Verdict.INFO)
        verdict = profile[one.code] if is_said else one.verdict
        if verdict is not None:
            out.append(one._replace(verdict=verdict))
    return sort_findings(out)


def reference() -> str:
    """Write the reference of all findings as a page (`docs/reference/findings.md`)."""
    lines = [
        "# Findings of `quada doctor`",
        "",
        "Made from the code: run `quada doctor --findings` after changing one.",
        "",
        "| code | group | what should be | why | fix | source |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r.code}` | {r.group} | {r.title} | {r.why} | {r.fix} | {r.source} |"
        for r in RULES.values()
    ]
    return "\n".join(lines) + "\n"
