"""SNP reports as JSON fields, the way the `sev` crate writes them, put back into the 1184 bytes that were signed (V6)."""

from propolis.decisions.appraisal import jsonic, snp_report
from propolis.terms.errors import Rejected

_BYTES = {  # field -> (offset, size)
    "family_id": (0x10, 16),
    "image_id": (0x20, 16),
    "report_data": (0x50, 64),
    "measurement": (0x90, 48),
    "host_data": (0xC0, 32),
    "id_key_digest": (0xE0, 48),
    "author_key_digest": (0x110, 48),
    "report_id": (0x140, 32),
    "report_id_ma": (0x160, 32),
    "chip_id": (0x1A0, 64),
}
_NUMBERS = {  # field -> (offset, size)
    "version": (0x00, 4),
    "guest_svn": (0x04, 4),
    "policy": (0x08, 8),
    "vmpl": (0x30, 4),
    "sig_algo": (0x34, 4),
    "plat_info": (0x40, 8),
    "key_info": (0x48, 4),
    "cpuid_fam_id": (0x188, 1),
    "cpuid_mod_id": (0x189, 1),
    "cpuid_step": (0x18A, 1),
    "launch_mit_vector": (0x1F8, 8),
    "current_mit_vector": (0x200, 8),
}
_TCBS = {"current_tcb": 0x38, "reported_tcb": 0x180, "committed_tcb": 0x1E0, "launch_tcb": 0x1F0}
_BUILDS = {"current": 0x1E8, "committed": 0x1EC}
_SIGNATURE = {"r": 0x2A0, "s": 0x2E8}
_PARTS = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
_TURIN = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}
_KNOWN = frozenset({*_BYTES, *_NUMBERS, *_TCBS, *_BUILDS, "signature"})


def rebuilt(value: object) -> bytes:
    """Return the report. Raises Rejected: envelope_field, envelope_encoding, envelope_json."""
    fields = jsonic.members(value)
    if not set(fields) <= _KNOWN:
        raise Rejected("envelope_field", "a report with fields that nobody here knows")
    out = bytearray(snp_report.SIZE)
    for name, (at, size) in _BYTES.items():
        _put(out, at, _exact(fields, name, size))
    for name, (at, size) in _NUMBERS.items():
        _put(out, at, jsonic.number(fields, name, (1 << 8 * size) - 1).to_bytes(size, "little"))
    for name, at in _TCBS.items():
        _put(out, at, _tcb(jsonic.member(fields, name)))
    for name, at in _BUILDS.items():
        build = jsonic.member(fields, name)
        _put(out, at, bytes(jsonic.number(build, part, 255) for part in ("build", "minor", "major")))
    signature = jsonic.members(jsonic.member(fields, "signature"))
    for name, at in _SIGNATURE.items():
        _put(out, at, _exact(signature, name, 72))
    return bytes(out)


def _put(out: bytearray, at: int, data: bytes) -> None:
    out[at : at + len(data)] = data


def _exact(fields: dict[str, object], name: str, size: int) -> bytes:
    data = jsonic.octets(jsonic.member(fields, name), name)
    if len(data) != size:
        raise Rejected("envelope_field", f"{name} of {len(data)} bytes, not {size}")
    return data


def _tcb(value: object) -> bytes:
    parts = jsonic.members(value)
    layout = _PARTS if parts.get("fmc") is None else _TURIN
    raw = bytearray(8)
    for name, at in layout.items():
        raw[at] = jsonic.number(parts, name, 255)
    return bytes(raw)
