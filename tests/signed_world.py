"""Small signed worlds that answer as servers would: fixtures for tests of several rooms."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import dns.name
import dns.rdataclass
import dns.zone
import pytest

import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.denial as denial
import quada.zones.gate as gate
import quada.zones.rollover as rollover
import quada.zones.signature as signature
from quada.resolver import Anchors, Found, Signed, Validator, Verdict, Want
from quada.telemetry.event import Validation
from quada.zones.keys import Key, KeyRole, make_key
from quada.zones.keyset import ds_ids, key_set, read_state, world, write_state
from quada.zones.keystate import RolloverPolicy, State, key_id
from quada.zones.sign import sign, with_serial
from quada.zones.signing import KeySet, SigningKey, SigningPolicy
from quada.zones.zone import Zone, find

NOW_S = 1_790_000_000


def read_zone(text: str, origin: str) -> Zone:
    """Read zone text with dnspython, so that these worlds stand on nobody else's reader."""
    parsed = dns.zone.from_text(text, dns.name.from_text(origin), relativize=False)
    records = []
    for owner, rdataset in parsed.iterate_rdatasets():
        for rdata in rdataset:
            wire = rdata.to_wire(origin=dns.name.root)
            records.append((owner.to_wire().lower(), int(rdataset.rdtype), rdataset.ttl, wire))
    return Zone.build(names.from_text(origin), records)


def resting_keys(keys: list[Key]) -> KeySet:
    """Use keys as a zone at rest does."""

    def signing(key: Key) -> SigningKey:
        return SigningKey(key.algorithm, key.tag, key.signer())

    return KeySet(
        tuple(key.dnskey for key in keys),
        tuple(signing(key) for key in keys if key.role.has_ds),
        tuple(signing(key) for key in keys if key.role.signs_zone),
    )


class World:
    """Zones that answer DS, DNSKEY and anything else from memory, as authoritative servers do."""

    def __init__(self, now_s: int = NOW_S) -> None:
        self.now_s = now_s
        self.zones: dict[bytes, Zone] = {}
        self.anchors: dict[bytes, tuple[bytes, ...]] = {}
        self.asked: list[Want] = []
        self.unreachable: set[tuple[bytes, int]] = set()

    def add(self, origin: str, text: str, *, sign_with: list[Key] | None = None, **policy) -> Zone:
        """Add a zone, signed where keys are given."""
        zone = read_zone(text, origin)
        if sign_with:
            made = SigningPolicy(**policy)
            zone = sign(None, zone, resting_keys(sign_with), made, self.now_s).signed
        return self.put(zone)

    def put(self, zone: Zone) -> Zone:
        self.zones[zone.origin] = zone
        return zone

    def zone_of(self, name: bytes, rdtype: int) -> Zone:
        at = names.parent(name) if rdtype == codes.DS else name
        while at not in self.zones:
            if at == names.ROOT:
                raise LookupError(name)
            at = names.parent(at)
        return self.zones[at]

    def find(self, qname: str | bytes, qtype: int) -> Found:
        """Answer a question: in-zone CNAME chains, wildcards, DNAME, denial."""
        name = names.from_text(qname) if isinstance(qname, str) else qname
        name = name.lower()
        answer: list[Signed] = []
        authority: list[Signed] = []
        rcode, target = codes.NOERROR, name
        for _ in range(8):
            zone = self.zone_of(target, qtype)
            rcode, following = self._step(zone, target, qtype, answer, authority)
            if following is None:
                break
            target = following
        return Found(name, qtype, rcode, tuple(answer), tuple(authority))

    def _step(self, zone, name, qtype, answer, authority):
        node = zone.nodes.get(name)
        above = name
        while above != zone.origin:
            above = names.parent(above)
            dname = find(zone.nodes.get(above, ()), codes.DNAME)
            if dname is not None:
                answer.append(signed(zone, above, codes.DNAME))
                target = name[: -len(above)] + dname.rdatas[0].lower()
                answer.append(Signed(name, codes.CNAME, dname.ttl, (target,)))
                return codes.NOERROR, target
        source, is_wild = name, False
        if node is None:
            above = names.parent(name)
            while above not in zone.nodes:
                above = names.parent(above)
            source, is_wild = b"\x01*" + above, True
            node = zone.nodes.get(source)
        if node is None:
            deny(zone, authority, name, is_no_name=True)
            return codes.NXDOMAIN, None
        for rdtype in (qtype, codes.CNAME):
            rrset = find(node, rdtype)
            if rrset is None:
                continue
            made = signed(zone, source, rdtype)
            answer.append(made._replace(owner=name))
            if is_wild:
                deny(zone, authority, name, is_no_name=False, is_wild=True)
            return codes.NOERROR, rrset.rdatas[0].lower() if rdtype != qtype else None
        deny(zone, authority, name, is_no_name=False, wild=source if is_wild else None)
        return codes.NOERROR, None

    def ask(self, want: Want) -> Found | None:
        self.asked.append(want)
        if (want.name, want.rdtype) in self.unreachable:
            return None
        return self.find(want.name, want.rdtype)

    def validator(self, **options) -> Validator:
        return Validator(Anchors(dict(self.anchors)), **options)

    def validate(
        self, found: Found, validator: Validator | None = None, zone: bytes | None = None
    ) -> Verdict:
        """Drive a validation to its verdict."""
        conversation = (validator or self.validator()).validate(found, self.now_s, zone)
        try:
            wants = next(conversation)
            while True:
                wants = conversation.send(tuple(self.ask(want) for want in wants))
        except StopIteration as done:
            return done.value

    def verdict(self, qname: str, qtype: int, **options) -> Verdict:
        return self.validate(self.find(qname, qtype), self.validator(**options))


def signed(zone: Zone, owner: bytes, rdtype: int) -> Signed:
    """Give an RRset of a zone with its signatures."""
    node = zone.nodes[owner]
    rrset, made = find(node, rdtype), find(node, codes.RRSIG)
    rdatas = made.rdatas if made else ()
    mine = tuple(r for r in rdatas if int.from_bytes(r[:2], "big") == rdtype)
    return Signed(owner, rdtype, rrset.ttl, rrset.rdatas, mine)


def deny(zone, authority, name, *, is_no_name, is_wild=False, wild=None) -> None:
    """Add SOA and the NSEC or NSEC3 that a server adds; more than needed does no harm."""
    if not is_wild:
        authority.append(signed(zone, zone.origin, codes.SOA))
    parameters = find(zone.nodes[zone.origin], codes.NSEC3PARAM)
    wanted: list[bytes] = []
    if parameters is None:
        chain = sorted(
            (o for o, n in zone.nodes.items() if find(n, codes.NSEC)), key=names.canonical_key
        )
        if not chain:
            return
        encloser = names.parent(name)
        while encloser not in zone.nodes and encloser != zone.origin:
            encloser = names.parent(encloser)
        for target in (name, b"\x01*" + encloser):
            if target in chain:
                wanted.append(target)
                continue
            key = names.canonical_key(target)
            wanted.append([o for o in chain if names.canonical_key(o) <= key][-1])
        if name in zone.nodes and find(zone.nodes[name], codes.NSEC):
            wanted = [name]
        kind = codes.NSEC
    else:
        rdata = parameters.rdatas[0]
        rounds, salt = int.from_bytes(rdata[2:4], "big"), rdata[5:]
        chain = sorted(o for o, n in zone.nodes.items() if find(n, codes.NSEC3))

        def place(target: bytes) -> bytes:
            own = denial.hash_label(denial.nsec3_hash(target, rounds, salt)) + zone.origin
            return own if own in chain else ([o for o in chain if o < own] or chain)[-1]

        wanted.append(place(name))
        next_closer, encloser = name, name
        if place(name) != denial.hash_label(denial.nsec3_hash(name, rounds, salt)) + zone.origin:
            encloser = names.parent(name)
            while True:
                own = denial.hash_label(denial.nsec3_hash(encloser, rounds, salt)) + zone.origin
                if own in chain or encloser == zone.origin:
                    break
                next_closer, encloser = encloser, names.parent(encloser)
            wanted += [place(encloser), place(next_closer), place(b"\x01*" + encloser)]
        kind = codes.NSEC3
    if wild is not None and kind == codes.NSEC:
        wanted.append(wild)
    for owner in dict.fromkeys(wanted):
        authority.append(signed(zone, owner, kind))


ROOT_TEXT = """
. 3600 IN SOA ns.example. host.example. 1 3600 900 86400 300
. 3600 IN NS ns.example.
example. 3600 IN NS ns.example.
{ds}
plain. 3600 IN NS ns.plain.
ns.plain. 3600 IN AAAA 2001:db8::53
"""

EXAMPLE_TEXT = """
example. 3600 IN SOA ns.example. host.example. 1 3600 900 86400 300
example. 3600 IN NS ns.example.
example. 3600 IN MX 10 Mail.example.
ns 3600 IN AAAA 2001:db8::53
www.example. 3600 IN AAAA 2001:db8::1
www.example. 3600 IN AAAA 2001:db8::2
www.example. 3600 IN A 192.0.2.1
alias.example. 3600 IN CNAME www.example.
away.example. 3600 IN CNAME host.plain.
*.wild.example. 3600 IN AAAA 2001:db8::3
*.walias.example. 3600 IN CNAME www.example.
a.empty.example. 3600 IN TXT "below an empty non-terminal"
old.example. 3600 IN DNAME example.
unsigned.example. 3600 IN NS ns.unsigned.example.
ns.unsigned.example. 3600 IN AAAA 2001:db8::54
"""

PLAIN_TEXT = """
plain. 3600 IN SOA ns.plain. host.plain. 1 3600 900 86400 300
plain. 3600 IN NS ns.plain.
ns.plain. 3600 IN AAAA 2001:db8::53
host.plain. 3600 IN AAAA 2001:db8::4
deep.er.plain. 3600 IN AAAA 2001:db8::5
"""

UNSIGNED_TEXT = """
unsigned.example. 3600 IN SOA ns.example. host.example. 1 3600 900 86400 300
unsigned.example. 3600 IN NS ns.unsigned.example.
www.unsigned.example. 3600 IN AAAA 2001:db8::6
"""


@pytest.fixture(scope="session")
def make_zone() -> Callable[[str, str], Zone]:
    """Give a reader of zone text: text, origin."""
    return read_zone


@pytest.fixture(scope="session")
def make_keys() -> Callable[[list[Key]], KeySet]:
    """Give the use of keys as a zone at rest has it."""
    return resting_keys


@pytest.fixture
def empty_world() -> World:
    """Give a world without zones and anchors."""
    return World()


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    """Give a maker of signed worlds: `.` and `example.` signed, `plain.` and below unsigned."""

    def make(
        algorithm: int = signature.ECDSAP256SHA256,
        *,
        root_algorithm: int = signature.ED25519,
        digest: int = signature.DIGEST_SHA256,
        has_csk: bool = False,
        example: str = EXAMPLE_TEXT,
        **policy,
    ) -> World:
        world = World()
        root_key = make_key(names.ROOT, KeyRole.CSK, root_algorithm)
        zone = names.from_text("example.")
        roles = [KeyRole.CSK] if has_csk else [KeyRole.KSK, KeyRole.ZSK]
        keys = [make_key(zone, role, algorithm) for role in roles]
        ds = keys[0].ds(digest)
        text = f"example. 3600 IN DS {keys[0].tag} {algorithm} {digest} {ds[4:].hex()}"
        world.add(".", ROOT_TEXT.format(ds=text), sign_with=[root_key])
        world.add("example.", example, sign_with=keys, **policy)
        world.add("plain.", PLAIN_TEXT)
        world.add("unsigned.example.", UNSIGNED_TEXT)
        world.anchors = {names.ROOT: (root_key.ds(),)}
        world.keys = keys
        return world

    return make


HOUR_S = 3600
MAX_TTL_S = 7200
ROLLING_TEXT = """
example. 3600 IN SOA ns.example. host.example. 1 3600 900 86400 300
example. 3600 IN NS ns.example.
ns.example. 3600 IN AAAA 2001:db8::53
www.example. 7200 IN AAAA 2001:db8::1
*.wild.example. 3600 IN AAAA 2001:db8::3
"""
ROLLING_QUESTIONS = [
    ("www.example.", codes.AAAA),
    ("www.example.", codes.TXT),
    ("nothing.example.", codes.AAAA),
    ("x.wild.example.", codes.AAAA),
]


class Drill:
    """One zone, its parent and the resolvers of the world, under a clock of its own."""

    def __init__(self, world_, policy, unsigned, *, parent_lag_s: int, start_s: int) -> None:
        self.world = world_
        self.policy = policy
        self.unsigned = unsigned
        self.start_s = self.now_s = start_s
        self.origin = unsigned.origin
        self.published = lambda version, ds: None
        self.signing_policy = SigningPolicy()
        self.state = State()
        self.keys = {}
        self.signing = None
        self.served = [(unsigned, None)]  # versions, and when they were replaced
        self.ds = [(frozenset(), None)]  # DS sets likewise
        self.parent_lag_s = parent_lag_s
        self.asked_at = {}
        self.steps = []
        for role in policy.roles:
            self.bring(role)

    def bring(self, role: KeyRole, algorithm: int | None = None) -> None:
        replaces = frozenset(ring.key for ring in self.state.staying(role))
        key = make_key(self.origin, role, algorithm or self.policy.algorithm)
        self.keys[key_id(key.dnskey)] = key
        self.state = rollover.add_key(self.state, role, key.dnskey, self.now_s, replaces=replaces)

    def tick(self) -> None:
        """One look of the server: steps, signing, gate, publication; and the parent's part."""
        self.state = read_state(write_state(self.state))
        state, steps = rollover.advance(self.state, self.policy, MAX_TTL_S, self.now_s)
        taken = [step for step in steps if step.at_s is not None]
        if taken:
            self.steps += [(self.now_s - self.start_s, step.what.split(" (")[0]) for step in taken]
            self.publish(state)
        self.state = state
        self.follow()

    def publish(self, state: State) -> None:
        unsigned = with_serial(self.unsigned, len(self.served) + 1)
        keys = key_set(state, self.keys, self.policy, self.origin)
        if keys is None:
            version, self.signing = unsigned, None
        else:
            self.signing = sign(self.signing, unsigned, keys, self.signing_policy, self.now_s)
            version = self.signing.signed
        before = self.served[-1][0]
        refusals = gate.judge(version, before, world(state, self.origin), self.now_s)
        assert refusals == [], [str(r) for r in refusals]
        self.served[-1] = (before, self.now_s)
        self.served.append((version, None))
        self.published(version, self.ds[-1][0])

    def follow(self) -> None:
        """The parent follows CDS after its lag, on all its servers; then we look."""
        wanted = self.state.ds_asked
        since = self.asked_at.setdefault(wanted, self.now_s)
        cds = frozenset(self.keys[key].ds() for key in wanted)
        is_signed_before = self.ds[-1][0] or cds
        if cds != self.ds[-1][0] and is_signed_before and self.now_s >= since + self.parent_lag_s:
            self.ds[-1] = (self.ds[-1][0], self.now_s)
            self.ds.append((cds, None))
            self.asked_at = {wanted: since}
        seen = ds_ids(self.state, self.origin, self.ds[-1][0])
        self.state = rollover.see_ds(self.state, seen, self.policy, self.now_s)

    def held(self, versions, hold_s: int):
        """Give what resolvers may hold: what is served, and what was until `hold_s` ago."""
        return [v for v, gone in versions if gone is None or gone + hold_s > self.now_s]

    def check(self) -> int:
        """Validate under every combination that a resolver may hold; give how many there were."""
        count = 0
        policy = self.policy
        every_ds = self.held(self.ds, policy.ds_ttl_s + policy.parent_s)
        every_keys = self.held(self.served, policy.dnskey_ttl_s + policy.propagation_s)
        every_data = self.held(self.served, MAX_TTL_S + policy.propagation_s)
        for ds, keys, data in itertools.product(every_ds, every_keys, every_data):
            if not ds:
                continue
            self.world.zones[self.origin] = data
            validator = Validator(Anchors({self.origin: tuple(ds)}), skew_s=0)
            for qname, qtype in ROLLING_QUESTIONS:
                found = self.world.find(qname, qtype)
                self.world.zones[self.origin] = keys
                self.world.now_s = self.now_s
                verdict = self.world.validate(found, validator)
                self.world.zones[self.origin] = data
                assert verdict.state is Validation.SECURE, (self.steps, qname, verdict.reason)
                count += 1
        return count

    def run(self, hours: int, *, jitter: random.Random | None = None) -> None:
        for _ in range(hours * 2):
            self.tick()
            self.check()
            self.now_s += HOUR_S // 2 if jitter is None else jitter.randrange(60, HOUR_S)
            self.check()


@pytest.fixture
def drill(empty_world, make_zone):
    unsigned = make_zone(ROLLING_TEXT, "example.")

    def make(
        *,
        parent_lag_s: int = 2 * HOUR_S,
        hours: int = 12,
        start_s: int = NOW_S,
        content: Zone | None = None,
        algorithm: int = signature.ED25519,
        **policy,
    ) -> Drill:
        made = RolloverPolicy(ds_ttl_s=HOUR_S, parent_s=600, algorithm=algorithm, **policy)
        drill = Drill(
            empty_world, made, content or unsigned, parent_lag_s=parent_lag_s, start_s=start_s
        )
        drill.run(hours)
        assert drill.state.ds_seen == drill.state.ds_wanted != frozenset()
        return drill

    return make
