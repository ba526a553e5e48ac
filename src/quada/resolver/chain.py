"""The chain of trust: an RRset against its signer's keys, the keys against DS, DS against a parent.

Everything learnt is kept in `Trust`, so that a chain is walked once per TTL. A zone whose chain is
broken is remembered as such for a minute, so that it cannot be used to burn time.
"""

from __future__ import annotations

from typing import Final

import quada.resolver.evidence as evidence
import quada.resolver.proofs as proofs
import quada.resolver.trust as trusts
import quada.wire.codes as codes
import quada.wire.names as names
import quada.zones.signature as signature
from quada.resolver.evidence import (
    BOGUS,
    EDE_ALGORITHM,
    EDE_BOGUS,
    EDE_DIGEST,
    EDE_EARLY,
    EDE_EXPIRED,
    EDE_ITERATIONS,
    EDE_NO_DNSKEY,
    EDE_NO_NSEC,
    EDE_NO_RRSIGS,
    EDE_NO_ZONE_KEY,
    EDE_UNREACHED,
    INDETERMINATE,
    INSECURE,
    SECURE,
    SEVERITY,
    Checked,
    Found,
    Signed,
    Steps,
    Want,
)
from quada.resolver.trust import Delegation, Spent, Trust, Zone

MAX_TTL_S: Final = 86_400  # our choice: keys and delegations are looked at again within a day
BAD_TTL_S: Final = 60  # our choice: how long a broken zone is not tried again (RFC 9520 3.2)
UNREACHED_TTL_S: Final = 5  # our choice: the same where its keys could not be had


class Chain:
    """One walk along the chain of trust, for one answer: what it may cost, and what it checked."""

    def __init__(self, trust: Trust, now_s: int, hint: bytes | None = None) -> None:
        self.trust = trust
        self.now_s = now_s
        self.hint = hint
        self.spent = Spent(trust.limits)
        self.rrsets: dict[tuple[bytes, int], Checked] = {}

    # --------------------------------------------------------------------------------- one RRset

    def anchored(self, name: bytes) -> Checked | None:
        """Give an outcome at once where no trust anchor reaches; None where one does."""
        anchor = self.trust.anchors.above(name, self.now_s)
        if anchor is None:
            return Checked(INDETERMINATE, MAX_TTL_S, reason="no trust anchor above the name")
        at, is_negative = anchor
        if is_negative:
            told = f"a negative trust anchor at {names.to_text(at)} turns validation off"
            return Checked(INSECURE, MAX_TTL_S, at, reason=told)
        return None

    def check(self, signed: Signed) -> Steps[Checked]:
        """Check one RRset against its signer's keys (RFC 4035 5.3)."""
        base = evidence.authority_of(signed.owner, signed.rdtype)
        anchored = self.anchored(base)
        if anchored is not None:
            return anchored._replace(ttl=signed.ttl)
        signers = self.signers(signed)
        if not signers:
            told = f"{evidence.rrset_text(signed)} has no signature"
            missing = Checked(BOGUS, 0, ede=EDE_NO_RRSIGS, reason=told)
            outcome = yield from self.unsigned(signed.owner, signed.rdtype, missing)
            return outcome._replace(ttl=min(outcome.ttl, signed.ttl))
        outcomes = []
        for signer in signers[:2]:  # more than one only where a zone was just split or merged
            known = yield from self.zone(signer)
            if known.state is SECURE:
                outcomes.append(self._verify(signed, signer, known))
            else:
                outcomes.append(Checked(known.state, signed.ttl, signer, known.ede, known.reason))
        return min(outcomes, key=lambda outcome: SEVERITY[outcome.state])

    def signers(self, signed: Signed) -> list[bytes]:
        """Give who claims to have signed an RRset, nearest first, none above the trust anchor.

        A signer above the anchor must not count: nothing vouches for it, and taking its word for
        "no anchor reaches here" would let anybody turn validation off.
        """
        base = evidence.authority_of(signed.owner, signed.rdtype)
        anchor = self.trust.anchors.above(base, self.now_s)
        top = anchor[0] if anchor else names.ROOT
        return [s for s in evidence.signers(signed) if names.is_subdomain(s, top)]

    def denying_zone(self, found: Found, name: bytes, rdtype: int) -> bytes | None:
        """Give the zone that signed a denial about a name: the nearest signer of its records."""
        limit = evidence.authority_of(name, rdtype)
        fit = [
            signer
            for signed in found.authority
            if signed.rdtype in evidence.PROOF_TYPES
            for signer in self.signers(signed)[:1]
            if names.is_subdomain(limit, signer)
        ]
        return max(fit, key=len, default=None)

    def _verify(self, signed: Signed, signer: bytes, zone: Zone) -> Checked:
        """Try a zone's keys on an RRset's signatures until one fits."""
        is_proof = signed.rdtype in evidence.PROOF_TYPES
        same = (signed.owner, signed.rdtype, signed.rdatas, signed.signatures)
        known = self.trust.verified.get(same) if is_proof else None
        if known is not None and known[0] is zone:
            _, made, owner = known
            if not signature.is_in_time(made, self.now_s, self.trust.skew_s):
                return self._secured(signed, made, owner)
        failure: tuple[int, str] | None = None
        tried = 0
        for rdata in signed.signatures:
            rrsig = signature.parse_rrsig(rdata)
            if rrsig is None or rrsig.signer != signer or rrsig.covered != signed.rdtype:
                continue
            tried += 1
            if tried > self.trust.limits.signatures_per_rrset:
                break
            outcome = self._verify_one(signed, rrsig, zone)
            if isinstance(outcome, Checked):
                if is_proof:
                    owner = signature.signed_owner(signed.owner, rrsig.labels) or signed.owner
                    self.trust.remember(same, zone, rrsig, owner)
                return outcome
            if failure is None or failure[0] == EDE_NO_DNSKEY:
                failure = outcome
        ede, told = failure or (EDE_NO_RRSIGS, "no usable signature")
        return Checked(BOGUS, 0, signer, ede, f"{evidence.rrset_text(signed)}: {told}")

    def _verify_one(
        self, signed: Signed, rrsig: signature.Rrsig, zone: Zone
    ) -> Checked | tuple[int, str]:
        """Try one signature: the outcome where it fits, else an EDE and the reason."""
        tag = f"signature by key {rrsig.key_tag}"
        owner = signature.signed_owner(signed.owner, rrsig.labels)
        if owner is None:
            return EDE_BOGUS, f"{tag} counts more labels than the name has"
        if rrsig.algorithm not in self.trust.algorithms:
            return EDE_ALGORITHM, f"{tag} has algorithm {rrsig.algorithm}, which is not supported"
        when = signature.is_in_time(rrsig, self.now_s, self.trust.skew_s)
        if when > 0:
            ago = -signature.seconds_left(rrsig, self.now_s)
            return EDE_EXPIRED, f"{tag} expired {ago} s ago"
        if when < 0:
            return EDE_EARLY, f"{tag} is not valid yet"
        keys = zone.keys.get((rrsig.algorithm, rrsig.key_tag))
        if not keys:
            return EDE_NO_DNSKEY, f"the zone has no key {rrsig.key_tag} that may verify it"
        for key in keys:
            if self.spent.is_over:
                return EDE_BOGUS, "checking it costs more than an answer may"
            self.spent.checks += 1
            if signature.is_valid(key, rrsig, owner, signed.rdtype, signed.rdatas):
                return self._secured(signed, rrsig, owner)
            self.spent.failures += 1
        return EDE_BOGUS, f"{tag} does not fit the data"

    def _secured(self, signed: Signed, rrsig: signature.Rrsig, owner: bytes) -> Checked:
        left = max(0, signature.seconds_left(rrsig, self.now_s))
        ttl = min(signed.ttl, rrsig.original_ttl, left)  # RFC 4035 5.3.3
        from_wildcard = rrsig.labels if owner != signed.owner else None
        return Checked(SECURE, ttl, rrsig.signer, encloser_labels=from_wildcard)

    # ---------------------------------------------------------------------------------- the zone

    def zone(self, name: bytes) -> Steps[Zone]:
        """Give a zone's validated keys, or what it is instead (RFC 4035 5.2 and 5.3.1)."""
        known = self.trust.zones.get(name, self.now_s)
        if known is not None:
            return known
        anchored = self.anchored(name)
        if anchored is not None:
            # Not kept: negative trust anchors come and go.
            return Zone(anchored.state, 0, ede=anchored.ede, reason=anchored.reason)
        dnskey: Found | None = None
        ds = self.trust.anchors.positive.get(name)
        if ds is None:
            cut = self.trust.delegations.get(name, self.now_s)
            if cut is None:
                ds_found, dnskey = yield from self._ask(
                    Want(name, codes.DS), Want(name, codes.DNSKEY)
                )
                cut = yield from self._delegation(name, ds_found)
            if cut.state is not SECURE or not cut.is_cut:
                told = cut.reason or f"{names.to_text(name)} signs, but no zone begins there"
                state = cut.state if cut.state is not SECURE else BOGUS
                return self._keep(name, Zone(state, cut.expires_at, ede=cut.ede, reason=told))
            ds, until = cut.ds, cut.expires_at
        else:
            ds = trusts.usable_ds(ds, self.trust.algorithms, self.trust.digests)
            until = self.now_s + MAX_TTL_S
            if not ds:
                told = f"no anchor of {names.to_text(name)} has a supported algorithm"
                return Zone(INSECURE, 0, ede=EDE_ALGORITHM, reason=told)
        if dnskey is None:
            (dnskey,) = yield from self._ask(Want(name, codes.DNSKEY))
        return self._keep(name, self._keys(name, ds, dnskey, until))

    def _keep(self, name: bytes, zone: Zone) -> Zone:
        if zone.state is BOGUS:
            zone = zone._replace(expires_at=self._bad_until(zone.ede))
        if zone.state is not BOGUS or not self.spent.is_over:
            self.trust.zones.put(name, zone)
        return zone

    def _bad_until(self, ede: int | None) -> int:
        return self.now_s + (UNREACHED_TTL_S if ede == EDE_UNREACHED else BAD_TTL_S)

    def _keys(self, name: bytes, ds: tuple[bytes, ...], found: Found | None, until: int) -> Zone:
        """Validate a DNSKEY RRset by the DS it must match (RFC 4035 5.2)."""
        place = names.to_text(name)
        signed = evidence.pick(found, name, codes.DNSKEY)
        if signed is None:
            told = f"DNSKEY of {place} cannot be had"
            return Zone(BOGUS, 0, ede=EDE_NO_DNSKEY if found else EDE_UNREACHED, reason=told)
        table = trusts.key_table(signed.rdatas, self.trust.limits.keys_per_tag)
        if not table:
            told = f"no DNSKEY of {place} is a zone key"
            return Zone(BOGUS, 0, ede=EDE_NO_ZONE_KEY, reason=told)
        entry: dict[tuple[int, int], tuple[bytes, ...]] = {}
        for digest in ds[: self.trust.limits.ds]:
            slot = digest[2], int.from_bytes(digest[:2], "big")
            fit = [
                k for k in table.get(slot, ()) if signature.ds_rdata(name, k, digest[3]) == digest
            ]
            if fit:
                entry[slot] = tuple(fit)
        if not entry:
            told = f"no DNSKEY of {place} matches the DS at its parent"
            return Zone(BOGUS, 0, ede=EDE_NO_DNSKEY, reason=told)
        checked = self._verify(signed, name, Zone(SECURE, until, entry))
        if checked.state is not SECURE or checked.encloser_labels is not None:
            return Zone(BOGUS, 0, ede=checked.ede, reason=checked.reason)
        self.rrsets[name, codes.DNSKEY] = checked
        until = min(until, self.now_s + max(1, checked.ttl))
        return Zone(SECURE, until, table)

    # ---------------------------------------------------------------------------- the delegation

    def _delegation(self, name: bytes, found: Found | None) -> Steps[Delegation]:
        """Judge the answer to a DS question and remember it (RFC 4035 5.2)."""
        cut = yield from self._judge_delegation(name, found)
        if cut.state is BOGUS:
            cut = cut._replace(expires_at=self._bad_until(cut.ede))
        if cut.state is not BOGUS or not self.spent.is_over:
            # What failed for want of budget must not be remembered: it would let one costly answer
            # take other people's zones down.
            self.trust.delegations.put(name, cut)
        return cut

    def _judge_delegation(self, name: bytes, found: Found | None) -> Steps[Delegation]:
        if found is None:
            told = f"DS of {names.to_text(name)} cannot be had"
            return Delegation(BOGUS, 0, ede=EDE_UNREACHED, reason=told)
        signed = evidence.pick(found, name, codes.DS)
        if signed is not None:
            checked = yield from self.check(signed)
            self.rrsets[name, codes.DS] = checked
            return self._ds_delegation(name, signed, checked)
        alias = evidence.pick(found, name, codes.CNAME)
        if alias is not None:  # a name that is an alias is no zone
            checked = yield from self.check(alias)
            return self._until(checked, is_cut=False)
        zone = self.denying_zone(found, name, codes.DS)
        if zone is None:
            told = f"nothing signed denies DS of {names.to_text(name)}"
            missing = Checked(BOGUS, 0, ede=EDE_NO_NSEC, reason=told)
            return self._until((yield from self.unsigned(name, codes.DS, missing)), is_cut=False)
        known = yield from self.zone(zone)
        if known.state is not SECURE:
            return Delegation(known.state, known.expires_at, ede=known.ede, reason=known.reason)
        denial = yield from self.denial(found, zone)
        return self._denied_delegation(name, found, zone, denial.cut(name))

    def _ds_delegation(self, name: bytes, signed: Signed, checked: Checked) -> Delegation:
        if checked.state is not SECURE or checked.encloser_labels is not None:
            return self._until(checked)
        until = self.now_s + min(MAX_TTL_S, max(1, checked.ttl))
        ds = trusts.usable_ds(signed.rdatas, self.trust.algorithms, self.trust.digests)
        if ds:
            return Delegation(SECURE, until, ds)
        # RFC 4035 5.2, RFC 6840 5.2: nothing we could follow makes the zone insecure.
        has_algorithm = any(len(d) > 3 and d[2] in self.trust.algorithms for d in signed.rdatas)
        what = "digest" if has_algorithm else "algorithm"
        told = f"no DS of {names.to_text(name)} has a supported {what}"
        ede = EDE_DIGEST if has_algorithm else EDE_ALGORITHM
        return Delegation(INSECURE, until, ede=ede, reason=told)

    def _until(self, checked: Checked, *, is_cut: bool = True) -> Delegation:
        until = self.now_s + min(MAX_TTL_S, max(1, checked.ttl))
        return Delegation(
            checked.state, until, is_cut=is_cut, ede=checked.ede, reason=checked.reason
        )

    def _denied_delegation(
        self, name: bytes, found: Found, zone: bytes, cut: proofs.Cut
    ) -> Delegation:
        until = self.now_s + min(MAX_TTL_S, max(1, self.proof_ttl(found, zone)))
        place = names.to_text(name)
        match cut:
            case proofs.Cut.INSECURE:
                told = f"{names.to_text(zone)} delegates {place} without DS"
                return Delegation(INSECURE, until, reason=told)
            case proofs.Cut.TOO_COSTLY:
                told = f"NSEC3 of {names.to_text(zone)}: over {proofs.MAX_ITERATIONS} iterations"
                return Delegation(INSECURE, until, ede=EDE_ITERATIONS, reason=told)
            case proofs.Cut.NO_CUT:
                return Delegation(SECURE, until, is_cut=False)
            case proofs.Cut.NO_NAME:
                return Delegation(SECURE, until, is_cut=False, has_name=False)
        failed = self.failed_proof(found)
        told = failed.reason if failed else f"NSEC or NSEC3 do not prove that {place} has no DS"
        ede = failed.ede if failed else EDE_NO_NSEC
        return Delegation(BOGUS, 0, ede=ede, reason=told)

    def unsigned(self, owner: bytes, rdtype: int, missing: Checked) -> Steps[Checked]:
        """Find whether data may be unsigned: is there an insecure delegation above it?

        Gives an insecure outcome, or `missing` where the chain of trust reaches the data's zone.
        RFC: 4035 5.2, 4.3
        """
        base = evidence.authority_of(owner, rdtype)
        anchor = self.trust.anchors.above(base, self.now_s)
        top = anchor[0] if anchor else names.ROOT
        path = []
        name = base
        while name != top:
            path.append(name)
            name = names.parent(name)
        hint, self.hint = self.hint, None
        if hint is not None and hint in path:
            path.append(hint)  # asked first: most often it is the answer
        for name in reversed(path):
            cut = self.trust.delegations.get(name, self.now_s)
            if cut is None:
                (found,) = yield from self._ask(Want(name, codes.DS))
                cut = yield from self._delegation(name, found)
            if cut.state is INSECURE:
                return Checked(INSECURE, MAX_TTL_S, name, cut.ede, cut.reason)
            if cut.state is not SECURE:
                return Checked(cut.state, 0, name, cut.ede, cut.reason)
            if not cut.has_name:
                break
        return missing

    def _ask(self, *wants: Want) -> Steps[tuple[Found | None, ...]]:
        self.spent.lookups += len(wants)
        if self.spent.is_over:
            return (None,) * len(wants)
        return (yield wants)

    # -------------------------------------------------------------------------- the proof records

    def denial(self, found: Found, zone: bytes) -> Steps[proofs.Denial]:
        """Verify the authority section's SOA, NSEC and NSEC3 of one zone; give what they prove."""
        denial = proofs.Denial(zone)
        looked_at = 0
        for signed in found.authority:
            if signed.rdtype not in evidence.PROOF_TYPES or signed.rdtype == codes.SOA:
                continue
            looked_at += 1
            if looked_at > self.trust.limits.proof_rrsets:
                break
            if self.signers(signed)[:1] != [zone]:
                continue
            checked = self.rrsets.get((signed.owner, signed.rdtype))
            if checked is None:
                checked = yield from self.check(signed)
                self.rrsets[signed.owner, signed.rdtype] = checked
            is_own = checked.zone == zone and checked.encloser_labels is None
            if checked.state is SECURE and is_own:
                denial.add(signed.owner, signed.rdtype, signed.rdatas)
        for signed in found.authority:  # the SOA says how long the denial may be kept
            if signed.rdtype == codes.SOA and (signed.owner, codes.SOA) not in self.rrsets:
                self.rrsets[signed.owner, codes.SOA] = yield from self.check(signed)
        return denial

    def failed_proof(self, found: Found) -> Checked | None:
        """Give the first proof record whose own signature was bad: the better reason."""
        for signed in found.authority:
            checked = self.rrsets.get((signed.owner, signed.rdtype))
            if (
                checked is not None
                and checked.state is BOGUS
                and signed.rdtype in evidence.PROOF_TYPES
            ):
                return checked
        return None

    def proof_ttl(self, found: Found, zone: bytes) -> int:
        """Give how long a denial may be kept: no longer than any record of it."""
        ttls = [
            checked.ttl
            for signed in found.authority
            if (checked := self.rrsets.get((signed.owner, signed.rdtype))) and checked.zone == zone
        ]
        return min(ttls, default=0)
