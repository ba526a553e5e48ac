"""DNSSEC validation as a conversation: it says which DNSKEY and DS it needs, and ends in a verdict.

`Validator.validate` is a generator. It yields tuples of `Want` and is sent as many `Found` (None
where a lookup failed); it returns a `Verdict`. Where all keys are known it returns at once, and the
cost is the signature checks. It does no I/O, trusts nothing it is sent, and is bounded by `Limits`.

    conversation = validator.validate(found, now_s)
    wants = next(conversation)            # StopIteration carries the verdict
    wants = conversation.send((ds_answer, dnskey_answer))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import quada.resolver.evidence as evidence
import quada.resolver.proofs as proofs
import quada.wire.codes as codes
import quada.wire.names as names
from quada.resolver.chain import MAX_TTL_S, Chain
from quada.resolver.evidence import (
    BOGUS,
    EDE_BOGUS,
    EDE_INDETERMINATE,
    EDE_ITERATIONS,
    EDE_NO_NSEC,
    INDETERMINATE,
    INSECURE,
    SECURE,
    SEVERITY,
    Checked,
    Found,
    Signed,
    Steps,
    Verdict,
)
from quada.resolver.trust import SKEW_S, Anchors, Limits, Trust

if TYPE_CHECKING:
    from collections.abc import Iterable


class Validator:
    """Trust, and what was learnt under it. One per resolver worker; not shared between threads."""

    def __init__(
        self,
        anchors: Anchors,
        *,
        limits: Limits | None = None,
        skew_s: int = SKEW_S,
        may_sha1: bool = False,
    ) -> None:
        """Take where trust begins.

        `may_sha1` follows algorithms 5 and 7 and SHA-1 digests; without it zones that have nothing
        better are insecure, as RFC 9905 2 tells operators to do.
        """
        self.trust = Trust(anchors, limits or Limits(), skew_s=skew_s, may_sha1=may_sha1)

    def flush(self, name: bytes) -> None:
        """Forget what was learnt of a name and everything below it."""
        self.trust.zones.flush(name)
        self.trust.delegations.flush(name)

    def validate(self, found: Found, now_s: int, zone: bytes | None = None) -> Steps[Verdict]:
        """Validate an answer.

        Takes the response, the time, and optionally the zone whose server gave it: a hint that
        saves lookups where the zone is insecure. Yields Wants, is sent Founds, returns a Verdict.
        RFC: 4035 5, 6840, 5155 8
        """
        return (yield from _Answer(Chain(self.trust, now_s, zone)).run(found))


class _Answer:
    """One answer under validation."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    # ------------------------------------------------------------------------------- the answer

    def run(self, found: Found) -> Steps[Verdict]:
        """Follow the chain from the question, each link checked apart; the worst link counts."""
        if found.rcode not in (codes.NOERROR, codes.NXDOMAIN, codes.YXDOMAIN):
            told = f"rcode {found.rcode} carries nothing to validate"
            return Verdict(INDETERMINATE, EDE_INDETERMINATE, told, self.chain.rrsets)
        index = {(signed.owner, signed.rdtype): signed for signed in found.answer}
        worst: Checked | None = None
        name, seen = found.qname, {found.qname}
        for _ in range(self.chain.trust.limits.chain):
            outcome, target = yield from self._link(found, index, name)
            if worst is None or SEVERITY[outcome.state] > SEVERITY[worst.state]:
                worst = outcome
            if target is None or worst.state is BOGUS:
                return Verdict(worst.state, worst.ede, worst.reason, self.chain.rrsets)
            if target in seen:  # a loop has no end to prove; the resolver's limits deal with it
                return Verdict(worst.state, worst.ede, worst.reason, self.chain.rrsets)
            seen.add(target)
            name = target
        reason = f"more than {self.chain.trust.limits.chain} CNAME steps"
        return Verdict(BOGUS, EDE_BOGUS, reason, self.chain.rrsets)

    def _link(
        self, found: Found, index: dict[tuple[bytes, int], Signed], name: bytes
    ) -> Steps[tuple[Checked, bytes | None]]:
        """Check what the answer says of one name of the chain; give the next name, if any."""
        if found.qtype == codes.ANY:
            here = [signed for (owner, _), signed in index.items() if owner == name]
        else:
            here = [s for s in (index.get((name, found.qtype)),) if s is not None]
        if here and found.rcode == codes.NOERROR:
            return (yield from self._positive(found, here)), None
        dname = evidence.dname_above(index, name)
        alias = index.get((name, codes.CNAME))
        if dname is not None:
            checked = yield from self._positive(found, [dname])
            target = evidence.substitute(name, dname)
            if target is None and alias is None and found.rcode == codes.YXDOMAIN:
                return checked, None  # RFC 6672 2.2: the name it makes is too long
            if target is None or (alias is not None and alias.rdatas[0].lower() != target):
                told = f"CNAME at {names.to_text(name)} is not what its DNAME makes"
                return Checked(BOGUS, 0, ede=EDE_BOGUS, reason=told), None
            self.chain.rrsets[name, codes.CNAME] = checked
            return checked, target
        if alias is not None:
            checked = yield from self._positive(found, [alias])
            return checked, alias.rdatas[0].lower()
        if name != found.qname and not found.is_whole:
            return Checked(SECURE, MAX_TTL_S), None
        return (yield from self._negative(found, name)), None

    def _positive(self, found: Found, rrsets: Iterable[Signed]) -> Steps[Checked]:
        """Check RRsets of the answer, and for one made from a wildcard, that it was due."""
        outcomes = []
        for signed in rrsets:
            checked = yield from self.chain.check(signed)
            if checked.state is SECURE and checked.encloser_labels is not None:
                checked = yield from self._wildcard(found, signed, checked)
            self.chain.rrsets[signed.owner, signed.rdtype] = checked
            outcomes.append(checked)
        return max(outcomes, key=lambda outcome: SEVERITY[outcome.state])

    def _wildcard(self, found: Found, signed: Signed, checked: Checked) -> Steps[Checked]:
        denial = yield from self.chain.denial(found, checked.zone)
        proof = denial.no_closer_match(signed.owner, checked.encloser_labels or 0)
        if proof is proofs.Proof.PROVED:
            return checked
        if proof is proofs.Proof.MISSING:
            told = f"{evidence.rrset_text(signed)} comes from a wildcard, unproved that it may"
            return checked._replace(state=BOGUS, ede=EDE_NO_NSEC, reason=told)
        return _weaken(checked, proof)

    def _negative(self, found: Found, name: bytes) -> Steps[Checked]:
        """Check that a name or a type is not there (RFC 4035 5.4)."""
        anchored = self.chain.anchored(evidence.authority_of(name, found.qtype))
        if anchored is not None:
            return anchored
        zone = self.chain.denying_zone(found, name, found.qtype)
        if zone is None:
            missing = Checked(
                BOGUS,
                0,
                ede=EDE_NO_NSEC,
                reason=f"nothing signed denies {evidence.question_text(found, name)}",
            )
            return (yield from self.chain.unsigned(name, found.qtype, missing))
        known = yield from self.chain.zone(zone)
        if known.state is not SECURE:
            return Checked(known.state, MAX_TTL_S, zone, known.ede, known.reason)
        denial = yield from self.chain.denial(found, zone)
        failed = self.chain.failed_proof(found)
        is_no_name = found.rcode == codes.NXDOMAIN
        proof = denial.no_name(name) if is_no_name else denial.no_data(name, found.qtype)
        if proof is proofs.Proof.PROVED:
            return Checked(SECURE, self.chain.proof_ttl(found, zone), zone)
        if proof is proofs.Proof.MISSING:
            if failed is not None:
                return failed
            what = "no such name" if is_no_name else "no such data"
            told = f"NSEC or NSEC3 do not prove {what} for {evidence.question_text(found, name)}"
            return Checked(BOGUS, 0, zone, EDE_NO_NSEC, told)
        return _weaken(Checked(SECURE, self.chain.proof_ttl(found, zone), zone), proof)


def _weaken(checked: Checked, proof: proofs.Proof) -> Checked:
    if proof is proofs.Proof.TOO_COSTLY:
        told = f"NSEC3 has more than {proofs.MAX_ITERATIONS} iterations"
        return checked._replace(state=INSECURE, ede=EDE_ITERATIONS, reason=told)
    return checked._replace(state=INSECURE, reason="the proof has NSEC3 opt-out (RFC 5155 9.2)")
