"""Rows on firmware logs and IMA's lists."""

from hashlib import sha1

import mint_tpm
from given import LIST, LOG, examined
from mint_tpm import entries, event, header, u32

from propolis.decisions.appraisal import eventlog, ima, tpm2
from propolis.decisions.appraisal.firmware import Kind
from propolis.terms.errors import Rejected

EVENTS = entries()
SM3 = 0x12
SWITCH, LOADER = EVENTS[1], EVENTS[3]


def log(*events, head=None):
    return examined(event_log=(header() if head is None else head) + b"".join(events))


def retyped(entry, kind):
    return entry[:4] + int(kind).to_bytes(4, "little") + entry[8:]


def redigested(entry):
    """The digest of the quoted bank, changed in one bit."""
    return entry[:40] + bytes((entry[40] ^ 1,)) + entry[41:]


def many():
    entry = event(0, Kind.POST_CODE, b"x")
    return eventlog.parse(header() + entry * 20_001)


def measured(data):
    return examined(ima_list=data)


LINES = LIST.splitlines(keepends=True)


def violated():
    """A policy that wants a clean list meets a violation."""
    line = LINES[0].split(b" ", 2)
    data = LIST + b" ".join([line[0], b"0" * 40, line[2]])
    evidence = mint_tpm.evidence(LOG, data)
    found = tpm2._measured(evidence, type("Quoted", (), {"values": evidence.values}))
    if found[1]:
        raise Rejected("ima_violation", f"{found[1]} violations are seen")


def grown():
    return examined(ima_list=mint_tpm.ima_list(9))


def nul_in_path():
    body = mint_tpm.fields_of(b"/usr/lib/a\0b", b"x")
    digest = sha1(body, usedforsecurity=False).digest()
    return ima.parse_binary(u32(10) + digest + u32(6) + b"ima-ng" + u32(len(body)) + body)


ROWS = [
    ("log: bad spec id", lambda: log(*EVENTS, head=header(signature=b"Spec ID Event99\0")), "log_size"),
    ("log: alg size lie", lambda: log(*EVENTS, head=header(((4, 20), (0x0B, 31)))), "log_spec"),
    ("log: count of algorithms 2^31", lambda: log(*EVENTS, head=header().replace(u32(2) + b"\4\0", u32(2**31) + b"\4\0")), "log_spec"),
    ("log: event size > file", lambda: log(*EVENTS[:-1], EVENTS[-1][:68] + u32(len(EVENTS[-1])) + EVENTS[-1][72:]), "log_truncated"),
    ("log: event size 0xffffffff", lambda: log(*EVENTS[:-1], EVENTS[-1][:68] + u32(0xFFFFFFFF) + EVENTS[-1][72:]), "log_size"),
    ("log: 20001 events", many, "log_count"),
    ("log: fewer digests than its head announces", lambda: log(*EVENTS[:3], LOADER[:8] + u32(1) + LOADER[12:34] + LOADER[68:]), "log_alg"),
    ("log: a digest of a bank nobody announced", lambda: log(*EVENTS[:3], LOADER[:12] + b"\x0c\0" + LOADER[14:]), "log_alg"),
    ("log: empty", lambda: log(), "log_empty"),
    ("log: truncated in an entry", lambda: examined(event_log=LOG[:-1]), "log_truncated"),
    ("log: digest changed", lambda: log(*EVENTS[:3], redigested(LOADER), *EVENTS[4:]), "log_replay"),
    ("log: dropped", lambda: log(*EVENTS[:3], *EVENTS[4:]), "log_replay"),
    ("log: swapped", lambda: log(EVENTS[0], EVENTS[2], EVENTS[1], *EVENTS[3:]), "log_replay"),
    ("log: PCR moved", lambda: log(*EVENTS[:3], u32(2) + LOADER[4:], *EVENTS[4:]), "log_replay"),
    ("log: PCR 24", lambda: log(*EVENTS, event(24, Kind.IPL, b"x")), "log_pcr"),
    ("log: EventType rewritten", lambda: log(*EVENTS[:3], retyped(LOADER, Kind.SEPARATOR), *EVENTS[4:]), "log_content"),
    ("log: EventType of the switch rewritten to one that hides it", lambda: log(EVENTS[0], retyped(SWITCH, Kind.POST_CODE), *EVENTS[2:]), "log_content"),
    ("log: data rewritten", lambda: log(EVENTS[0], SWITCH[:-1] + b"\0", *EVENTS[2:]), "log_content"),
    ("IMA: template hash mismatch", lambda: measured(LIST.replace(b"library-1", b"library-7")), "ima_digest"),
    ("IMA: violation", violated, "ima_violation"),
    ("IMA: tail cut", lambda: measured(b"".join(LINES[:-1])), "ima_replay"),
    ("IMA: tail cut in a line", lambda: measured(LIST[:-5]), "ima_truncated"),
    ("IMA: grown list counts up to its prefix", grown, ""),
    ("IMA: a digest that is none", lambda: measured(LIST.replace(b"sha256:", b"sha256:zz", 1)), "ima_field"),
    ("IMA: unknown template", lambda: measured(LIST.replace(b"ima-ng", b"ima-xy")), "ima_template"),
    ("IMA: NUL in path", nul_in_path, "ima_path"),
    ("IMA: NUL in a list of lines", lambda: measured(LIST.replace(b"library-1", b"lib\0ary-1")), "ima_path"),
    ("IMA: a million and one lines", lambda: ima.parse_ascii(b"\n" * 1_000_001), "ima_count"),
    ("log: a bank of a hash that is not taken", lambda: log(*EVENTS, head=header(((4, 20), (SM3, 32)))), "log_alg"),
    ("IMA: another register", lambda: measured(LIST.replace(b"10 ", b"11 ", 1)), "ima_pcr"),
]  # fmt: skip
