"""What a firmware log says of the boot, as far as registers cover it (docs/specs/attestation.md, step 11).

Only pairs (register, type) of the list are read. Events that state their own data must hash to their digest: type and data are
the logger's word otherwise, and root may extend registers after the boot. So a type must not hide anything: whatever stands in
register 4 and is no separator and no known action was loaded, whatever it calls itself; and Secure Boot is what the first event
of register 7 says, which no system can precede. In PCR 1 real logs hold mismatches for boot variables, so nothing is concluded
from there.
"""

from enum import IntEnum

import msgspec

from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal.eventlog import NO_ACTION, Event, Log, holds
from propolis.terms.errors import Rejected

GLOBAL = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")  # EFI_GLOBAL_VARIABLE
DATABASE = bytes.fromhex("cbb219d73a3d9645a3bcdad00e67656f")  # EFI_IMAGE_SECURITY_DATABASE
MAX_NAME = 512
SWITCH = "SecureBoot"
ACTIONS = (b"Calling EFI Application from Boot Option", b"Returning from EFI Application from Boot Option")
HANDED_OVER = b"Exit Boot Services Returned with Success"
SEPARATORS = (bytes(4), b"\xff\xff\xff\xff", b"\x01\x00\x00\x00")


class Kind(IntEnum):
    """Event types (PFP 1.06, 10.4.1) that a register we conclude from may hold."""

    POST_CODE = 0x1
    SEPARATOR = 0x4
    ACTION = 0x5
    EVENT_TAG = 0x6
    S_CRTM_CONTENTS = 0x7
    S_CRTM_VERSION = 0x8
    CPU_MICROCODE = 0x9
    PLATFORM_CONFIG = 0xA
    TABLE_OF_DEVICES = 0xB
    COMPACT_HASH = 0xC
    IPL = 0xD
    NONHOST_CODE = 0xF
    NONHOST_CONFIG = 0x10
    POST_CODE_TWO = 0x13
    VARIABLE_DRIVER_CONFIG = 0x80000001
    VARIABLE_BOOT = 0x80000002
    BOOT_APPLICATION = 0x80000003
    BOOT_DRIVER = 0x80000004
    RUNTIME_DRIVER = 0x80000005
    GPT = 0x80000006
    EFI_ACTION = 0x80000007
    FIRMWARE_BLOB = 0x80000008
    HANDOFF_TABLES = 0x80000009
    FIRMWARE_BLOB_TWO = 0x8000000A
    HANDOFF_TABLES_TWO = 0x8000000B
    VARIABLE_BOOT_TWO = 0x8000000C
    GPT_TWO = 0x8000000D
    HCRTM = 0x80000010
    VARIABLE_AUTHORITY = 0x800000E0
    SPDM_FIRMWARE_BLOB = 0x800000E1
    SPDM_FIRMWARE_CONFIG = 0x800000E2


_IN_FOUR = {
    Kind.SEPARATOR, Kind.ACTION, Kind.EFI_ACTION, Kind.BOOT_APPLICATION, Kind.EVENT_TAG, Kind.COMPACT_HASH, Kind.IPL,
    Kind.BOOT_DRIVER, Kind.RUNTIME_DRIVER, Kind.GPT, Kind.GPT_TWO,
}  # fmt: skip
_IN_SEVEN = {
    Kind.SEPARATOR, Kind.VARIABLE_DRIVER_CONFIG, Kind.VARIABLE_AUTHORITY, Kind.EFI_ACTION, Kind.ACTION,
    Kind.VARIABLE_BOOT, Kind.VARIABLE_BOOT_TWO, Kind.IPL, Kind.EVENT_TAG,
}  # fmt: skip
_READ = {4: _IN_FOUR, 7: _IN_SEVEN}


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. `secure_boot`: None = the log does not say. Digests are of the log's bank, in order."""

    secure_boot: bool | None
    variables: dict[str, bytes]  # PK, KEK, db, dbx: digest of the variable's event
    authorities: tuple[bytes, ...]  # digests of what vouched for what was loaded
    applications: tuple[
        bytes, ...
    ]  # digests of what was loaded, register 4: Authenticode of loaders and kernels, as a rule
    handed_over: bool  # ExitBootServices was measured


class Variable(msgspec.Struct, frozen=True):
    """A UEFI_VARIABLE_DATA."""

    vendor: bytes
    name: str
    data: bytes


def variable(data: bytes) -> Variable:
    """Read a UEFI_VARIABLE_DATA. Raises Rejected(log_content)."""
    if len(data) < 32:
        raise Rejected("log_content", "a variable shorter than its head")
    letters, size = int.from_bytes(data[16:24], "little"), int.from_bytes(data[24:32], "little")
    if letters > MAX_NAME or 32 + 2 * letters + size != len(data):
        raise Rejected("log_content", "a variable whose sizes do not add up")
    try:
        name = data[32 : 32 + 2 * letters].decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise Rejected("log_content", "a variable whose name is no text") from error
    return Variable(data[:16], name, data[32 + 2 * letters :])


def read(log: Log, bank: int = Alg.SHA256) -> Boot:
    """Conclude what registers 4 and 7 cover. Raises Rejected(log_content): a type or data that cannot be relied on."""
    secure: bool | None = None
    variables: dict[str, bytes] = {}
    authorities: list[bytes] = []
    applications: list[bytes] = []
    ended: set[int] = set()
    handed_over = begun = False  # `begun`: register 7 has an event
    for event in log.events:
        if event.pcr == 5 and event.type == Kind.EFI_ACTION and holds(event, bank, event.data):
            handed_over |= event.data == HANDED_OVER
        if event.type == NO_ACTION or event.pcr not in _READ:
            continue
        if event.type not in _READ[event.pcr]:
            raise Rejected("log_content", f"an event of type {event.type:#x} in PCR {event.pcr}")
        if event.type == Kind.SEPARATOR:
            _separates(event, bank, ended)
        elif event.pcr == 4:
            if not _acts(event, bank):
                applications.append(event.digests[bank])
        elif event.type == Kind.VARIABLE_DRIVER_CONFIG:
            if 7 in ended:
                raise Rejected("log_content", "the configuration of Secure Boot after its separator")
            found = _stated(event, bank)
            if found.name in variables:
                raise Rejected("log_content", f"{found.name} is measured twice")
            variables[found.name] = event.digests[bank]
            if found.name == SWITCH:
                secure = _first_of_all(found, begun=begun)
        elif event.type == Kind.VARIABLE_AUTHORITY:
            # firmware and shim differ in what they hash: the digest is what counts
            authorities.append(event.digests[bank])
        begun |= event.pcr == 7
    return Boot(
        secure_boot=secure,
        variables=variables,
        authorities=tuple(authorities),
        applications=tuple(applications),
        handed_over=handed_over,
    )


def _separates(event: Event, bank: int, ended: set[int]) -> None:
    if event.data not in SEPARATORS or not holds(event, bank, event.data):
        raise Rejected("log_content", f"a separator in PCR {event.pcr} that is none")
    ended.add(event.pcr)


def _stated(event: Event, bank: int) -> Variable:
    if not holds(event, bank, event.data):
        raise Rejected("log_content", f"an event in PCR {event.pcr} whose data is not what was measured")
    return variable(event.data)


def _acts(event: Event, bank: int) -> bool:
    """Return whether an event of register 4 is an action that firmware announces: known words that were measured as such."""
    return event.type == Kind.EFI_ACTION and event.data in ACTIONS and holds(event, bank, event.data)


def _first_of_all(found: Variable, *, begun: bool) -> bool:
    """Return whether Secure Boot is on. Raises Rejected(log_content): it does not come first, so root may have extended it."""
    if begun or found.vendor != GLOBAL:
        raise Rejected("log_content", "the state of Secure Boot is not what was measured first")
    return _switch(found.data)


def _switch(data: bytes) -> bool:
    """Return whether it is on; a variable that is not there is measured empty."""
    if data not in (b"", b"\x00", b"\x01"):
        raise Rejected("log_content", "a switch that is neither on nor off")
    return data == b"\x01"
