"""Attacks on what logs, firmware and policies make of a quote: facts, section 3, numbers 7, 8, 9, 12 and 13. Registers are true."""

from hashlib import sha1

import mint
import mint_tpm
import msgspec
import pytest
from mint_tpm import entries, event, header, variable

from propolis.crypto import keys
from propolis.crypto.tpm import public
from propolis.decisions import weaknesses
from propolis.decisions.appraisal import eventlog, firmware, ima, member, policy, snp, tpm2
from propolis.decisions.appraisal.firmware import Kind
from propolis.decisions.appraisal.judge import judge
from propolis.decisions.appraisal.result import Reference
from propolis.runtime.known import known_weaknesses
from propolis.terms.errors import Rejected
from propolis.terms.trust import Tier

HONEST = header() + b"".join(entries(secure=b"\0"))  # Secure Boot is off
OFF = event(7, Kind.VARIABLE_DRIVER_CONFIG, variable("SecureBoot", b"\0"))
ON = event(7, Kind.VARIABLE_DRIVER_CONFIG, variable("SecureBoot", b"\1"))
SEPARATOR = event(7, Kind.SEPARATOR, bytes(4))
EVIL = event(4, Kind.BOOT_APPLICATION, b"an evil kernel")


def retyped(entry, kind, data=None):
    """An entry with another type, and other data: its digests stay, so every register replays."""
    head = entry[:4] + int(kind).to_bytes(4, "little") + entry[8:68]  # register, type, count, two digests
    data = entry[72:] if data is None else data
    return head + len(data).to_bytes(4, "little") + data


def replays(log, true):
    """What a naive verifier looks at: whether the log leads to the registers."""
    eventlog.agrees(eventlog.parse(log), eventlog.replay(eventlog.parse(true)))


def read(log):
    return firmware.read(eventlog.parse(log))


def refused(log, reason="log_content"):
    with pytest.raises(Rejected, match=reason):
        read(log)


def test_event_type_rewriting_of_the_switch():
    """Off is called something else, On is extended by root after the boot: replays, and must not be Secure Boot."""
    true = HONEST + ON + SEPARATOR  # what the registers saw
    assert read(HONEST).secure_boot is False
    for kind in (Kind.VARIABLE_AUTHORITY, Kind.IPL, Kind.EVENT_TAG, Kind.EFI_ACTION, Kind.VARIABLE_BOOT):
        forged = HONEST.replace(OFF, retyped(OFF, kind)).replace(SEPARATOR, retyped(SEPARATOR, Kind.VARIABLE_AUTHORITY))
        forged += ON + SEPARATOR
        replays(forged, true)
        refused(forged)
    hidden = HONEST.replace(OFF, retyped(OFF, Kind.VARIABLE_AUTHORITY))
    replays(hidden, HONEST)
    assert read(hidden).secure_boot is None, "a switch that is hidden is not on"


def test_event_type_rewriting_of_what_was_loaded():
    """A kernel is called an action, a tag, a driver: it was loaded all the same, and a known loader before it vouches for nothing."""
    true = header() + b"".join(entries()) + EVIL
    known = frozenset(digest.hex() for digest in read(header() + b"".join(entries())).applications)
    kinds = (Kind.EFI_ACTION, Kind.ACTION, Kind.EVENT_TAG, Kind.COMPACT_HASH, Kind.IPL, Kind.BOOT_DRIVER, Kind.GPT)
    for kind in kinds:
        for data in (None, firmware.ACTIONS[0], b""):
            forged = true.replace(EVIL, retyped(EVIL, kind, data))
            replays(forged, true)
            assert not {digest.hex() for digest in read(forged).applications} <= known
    refused(true.replace(EVIL, retyped(EVIL, Kind.SEPARATOR, bytes(4))))
    refused(true.replace(EVIL, retyped(EVIL, 0x77)))


def test_event_data_rewriting():
    """The data of an event that states itself is exchanged: off becomes on."""
    forged = HONEST.replace(OFF, retyped(OFF, Kind.VARIABLE_DRIVER_CONFIG, variable("SecureBoot", b"\1")))
    replays(forged, HONEST)
    refused(forged)


def test_events_moved_between_registers():
    entry = event(4, Kind.BOOT_APPLICATION, b"loader")
    moved = HONEST.replace(entry, (2).to_bytes(4, "little") + entry[4:])
    with pytest.raises(Rejected, match="log_replay"):
        replays(moved, HONEST)


def test_a_log_says_nothing_of_registers_that_were_not_quoted():
    """Only PCR 0 is quoted; the log claims Secure Boot and a known kernel."""
    made, log = mint_tpm.attester(HONEST), header() + b"".join(entries(secure=b"\1"))
    assert made.registers[7] != eventlog.replay(eventlog.parse(log))[7]
    evidence = msgspec.structs.replace(mint_tpm.evidence(HONEST, pcrs=(0,)), event_log=log)
    found = tpm2.verify(
        msgspec.msgpack.encode(evidence), mint.endorsements(), mint.NONCE, mint_tpm.maker_roots(), mint.NOW
    )
    assert read(log).secure_boot is True
    assert found.facts["secure-boot"] is None
    assert found.facts["loaded"] == ()


# -- IMA


def running(count):
    return mint_tpm.running(mint_tpm.ima_list(count))


def test_ima_race():
    """The list grows after the quote: the prefix counts, the rest waits; a list that is cut or exchanged leads nowhere."""
    grown = ima.parse_ascii(mint_tpm.ima_list(5))
    assert running(5) != running(3), "a naive verifier that replays the whole list refuses an honest machine"
    assert ima.matched(grown, running(3)) == 3
    for wrong in (grown[:2], grown[1:], [*grown[:2], grown[3], grown[2]]):
        with pytest.raises(Rejected, match="ima_replay"):
            ima.matched(wrong, running(3))


def test_ima_violation_is_seen_and_not_hidden_in_the_tail():
    line = mint_tpm.ima_list(1)
    digest = sha1(mint_tpm.measurements(1)[0][1], usedforsecurity=False).hexdigest().encode()
    violated = line.replace(digest, b"0" * 40)
    measured = mint_tpm.ima_list(2) + violated
    evidence = mint_tpm.evidence(measured=measured)
    rules = policy.Rules(policy.Policy(pcrs=mint_tpm.PCRS[:-1], measurements="clean"))
    found = tpm2.verify(
        msgspec.msgpack.encode(evidence), mint.endorsements(), mint.NONCE, mint_tpm.maker_roots(), mint.NOW
    )
    assert (found.facts["measurements"], found.facts["violations"]) == (3, 1)
    assert tpm2.appraise(found).status is not Tier.AFFIRMING
    assert rules.policy.measurements == "clean"
    rehearsed = policy.Rehearsal(
        i_know_that_an_emulated_tpm_proves_nothing=True, roots=tuple(mint_tpm.maker_roots().pins)
    )
    maker = mint.pem(mint.certificate("maker", mint.key("maker")))
    rules = policy.Rules(
        policy.Policy(pcrs=mint_tpm.PCRS[:-1], measurements="clean", certificates=(maker,), rehearsal=rehearsed)
    )
    with pytest.raises(Rejected, match="ima_violation"):
        member.judge(member.Shown(evidence=evidence), mint.NONCE, rules, None, mint.NOW)


# -- known-bad firmware


def test_known_bad_firmware_roca():
    """A key that its own public half gives away: fine to who checks sizes and exponents."""
    modulus = mint_tpm.roca_modulus()
    assert modulus.bit_length() == 2048
    area = public.ek_rsa()[:-256] + modulus.to_bytes(256, "big")
    with pytest.raises(Rejected, match="roca"):
        public.parse(area)
    numbers = mint.tlv(0x30, mint.der_number(modulus) + mint.der_number(65537))
    algorithm = mint.tlv(0x30, mint.der_oid("1.2.840.113549.1.1.1") + mint.tlv(0x05, b""))
    with pytest.raises(Rejected, match="roca"):
        keys.read(mint.tlv(0x30, algorithm + mint.tlv(0x03, b"\0" + numbers)))
    sound = mint.rsa_key("sound").public_key().public_numbers().n
    assert public.parse(public.ek_rsa()[:-256] + sound.to_bytes(256, "big")).key


def test_known_bad_firmware_by_version():
    """The firmware that made such keys is told by its version, and what lost its keys to a bus or a clock, too."""
    known = known_weaknesses()
    names = {each.name.split(" ")[0] for each in known.weakness}
    assert {"ROCA", "TPM-FAIL"} <= names
    roca_row = next(each for each in known.weakness if each.name.startswith("ROCA"))
    assert weaknesses.concerns(roca_row, "IFX", (7, 40, 0, 0), None) is True
    assert weaknesses.concerns(roca_row, "IFX", (7, 85, 0, 0), None) is False


# -- open failures, and hardware that was broken


def test_fail_open_configuration():
    """No policy, no roots, no reference values, no log: a quote that holds proves nothing by default, and says none."""
    evidence = mint_tpm.evidence()
    data = msgspec.msgpack.encode(msgspec.structs.replace(evidence, certificate=b""))
    found = tpm2.appraise(tpm2.verify(data, mint.endorsements(), mint.NONCE, mint.roots(), mint.NOW))
    assert found.attested.claims == ()
    assert found.status is not Tier.AFFIRMING
    with pytest.raises(
        Rejected, match="ek_root"
    ):  # a certificate that leads nowhere is no certificate that may be skipped
        tpm2.verify(msgspec.msgpack.encode(evidence), mint.endorsements(), mint.NONCE, mint.roots(), mint.NOW)
    for rules in (policy.Rules(policy.DEFAULT), policy.Rules(policy.DEFAULT, rehearse=False)):
        with pytest.raises(Rejected, match=r"emulated|ek_root|pcr_select"):
            member.judge(member.Shown(evidence=evidence), mint.NONCE, rules, None, mint.NOW)
    other = mint_tpm.ima_list(3).partition(b"\n")[2]
    odd = msgspec.structs.replace(mint_tpm.evidence(measured=mint_tpm.ima_list(3)), certificate=b"", ima_list=other)
    with pytest.raises(Rejected, match="ima_replay"):  # a list that does not lead there may not be ignored
        tpm2.verify(msgspec.msgpack.encode(odd), mint.endorsements(), mint.NONCE, mint.roots(), mint.NOW)


def judged(product="Genoa", **report):
    endorsements, roots = mint.snp(product=product)
    lists = [mint.revocations("ARK-Test", mint.key("ark", mint.ec.SECP384R1))]
    least = {(f"sev-snp-{product.lower()}", name): 0 for name in snp._SPL}
    return judge(
        "snp-report",
        mint.snp_report(product=product, **report),
        endorsements=msgspec.structs.replace(endorsements, lists=mint.endorsements(lists=lists).lists),
        nonce=mint.NONCE,
        roots=roots,
        now=mint.NOW,
        reference=Reference(least=least, images=frozenset({(b"m" * 48).hex()})),
    ).appraised


def test_tee_class_breaks_cap_what_a_proof_is_worth():
    """BadRAM and the key extraction on Milan: the signature is perfect, the claim that stands against the break is missing."""
    assert judged().status is Tier.AFFIRMING
    milan = judged("Milan")
    assert "not-milan" not in milan.attested.claims
    assert milan.status is not Tier.AFFIRMING
    aliased = judged(platform=0)  # the alias check is not complete
    assert "alias-check-complete" not in aliased.attested.claims
    assert aliased.status is not Tier.AFFIRMING
