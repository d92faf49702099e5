"""AMD SEV-SNP attestation reports, versions 2 to 5 (SEV Secure Nested Paging Firmware ABI, 56860, 7.3; evidence.md, S1-S4)."""

import msgspec

from propolis.terms.errors import Rejected

SIZE = 1184  # bytes, always
SIGNED = 0x2A0  # of them signed
VERSIONS = (2, 3, 4, 5)
ECDSA_P384_SHA384 = 1
VCEK, VLEK = 0, 1
_POLICY_ONE, _POLICY_TOP = 1 << 17, 26  # bit 17 is always set; bits from 26 on are reserved
_PLATFORM_TOP = 8
_NUMBER = 48  # bytes of R and of S that a P-384 signature uses, of 72 each
_PRODUCTS = {  # (family, model // 16) -> product; 19h: 00-0F, 10-1F and A0-AF; 1Ah: 00-1F
    (0x19, 0x0): "Milan",
    (0x19, 0x1): "Genoa",
    (0x19, 0xA): "Genoa",
    (0x1A, 0x0): "Turin",
    (0x1A, 0x1): "Turin",
}
_LAYOUT = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
_TURIN = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}

Tcb = dict[str, int]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A report taken apart. `product` is "" in version 2, which does not say."""

    raw: bytes
    version: int
    guest_svn: int
    policy: int
    vmpl: int
    platform: int
    signer: int
    product: str
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key: bytes
    author_key: bytes
    report_id: bytes
    chip: bytes
    current: bytes
    reported: bytes
    committed: bytes
    launch: bytes
    r: int
    s: int

    def allows(self, bit: int) -> bool:
        """Return a bit of the guest's policy."""
        return bool(self.policy >> bit & 1)

    def has(self, bit: int) -> bool:
        """Return a bit of the platform's information."""
        return bool(self.platform >> bit & 1)


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def parse(data: bytes) -> Report:
    """Read a report. Raises Rejected: truncated, trailing, version, sig_algo, mbz, key_kind."""
    if len(data) != SIZE:
        raise Rejected("truncated" if len(data) < SIZE else "trailing", f"a report of {len(data)} bytes, not {SIZE}")
    version = _u32(data, 0)
    if version not in VERSIONS:
        raise Rejected("version", f"a report of version {version}")
    if _u32(data, 0x34) != ECDSA_P384_SHA384:
        raise Rejected("sig_algo", f"signature algorithm {_u32(data, 0x34)}")
    _zeros(data, version)
    key_info = _u32(data, 0x48)
    signer = key_info >> 2 & 7
    if signer not in (VCEK, VLEK) or key_info >> 1 & 1:
        raise Rejected("key_kind", "a report that no chip's key signed")
    return Report(
        raw=bytes(data),
        version=version,
        guest_svn=_u32(data, 4),
        policy=_u64(data, 8),
        vmpl=_u32(data, 0x30),
        platform=_u64(data, 0x40),
        signer=signer,
        product=_product(data) if version > 2 else "",
        report_data=data[0x50:0x90],
        measurement=data[0x90:0xC0],
        host_data=data[0xC0:0xE0],
        id_key=data[0xE0:0x110],
        author_key=data[0x110:0x140],
        report_id=data[0x140:0x160],
        chip=data[0x1A0:0x1E0],
        current=data[0x38:0x40],
        reported=data[0x180:0x188],
        committed=data[0x1E0:0x1E8],
        launch=data[0x1F0:0x1F8],
        r=int.from_bytes(data[0x2A0 : 0x2A0 + _NUMBER], "little"),
        s=int.from_bytes(data[0x2E8 : 0x2E8 + _NUMBER], "little"),
    )


def _zeros(data: bytes, version: int) -> None:
    """Refuse anything where the layout of this version has zeros."""
    spans = [
        (0x4C, 0x50),
        (0x18B if version > 2 else 0x188, 0x1A0),
        (0x1EB, 0x1EC),
        (0x1EF, 0x1F0),
        (0x208 if version > 4 else 0x1F8, SIGNED),
        (SIGNED + _NUMBER, SIGNED + 72),
        (SIGNED + 72 + _NUMBER, SIZE),
    ]
    if any(any(data[start:end]) for start, end in spans):
        raise Rejected("mbz", "a reserved field that is not zero")
    policy = _u64(data, 8)
    if not policy & _POLICY_ONE or policy >> _POLICY_TOP:
        raise Rejected("mbz", f"a policy with reserved bits: {policy:#x}")
    if _u64(data, 0x40) >> _PLATFORM_TOP or _u32(data, 0x48) >> 5:
        raise Rejected("mbz", "reserved bits in the platform's information")


def _product(data: bytes) -> str:
    family, model = data[0x188], data[0x189]
    found = _PRODUCTS.get((family, model >> 4))
    if found is None:
        raise Rejected("version", f"a processor of family {family:#x}, model {model:#x}, whose layout is not known")
    return found


def tcb(raw: bytes, product: str) -> Tcb:
    """Return a TCB version's parts by the product's layout. Raises Rejected(mbz)."""
    layout = _TURIN if product == "Turin" else _LAYOUT
    if any(byte for at, byte in enumerate(raw) if at not in layout.values()):
        raise Rejected("mbz", "a reserved byte of a TCB version that is not zero")
    return {name: raw[at] for name, at in layout.items()}


def not_above(low: Tcb, high: Tcb) -> bool:
    """Return whether no part of `low` is above `high`'s."""
    return all(low[name] <= high[name] for name in low)
