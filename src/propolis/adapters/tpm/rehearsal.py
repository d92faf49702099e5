"""A rehearsed boot: what a firmware would measure, extended into an emulated TPM, with the log it would leave.

Only for emulators: a chip's registers are its firmware's to extend. The image is a digest; whoever wants another one boots it.
"""

from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256, Hash

from propolis.adapters.tpm.client import Tpm
from propolis.crypto.tpm.ids import Alg
from propolis.terms.errors import TpmError

BOOT_LOG = "boot.log"  # beside the emulator's socket
GLOBAL = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")  # EFI_GLOBAL_VARIABLE
SEPARATOR, SEPARATES = 0x4, bytes(4)
CRTM, VARIABLE, APPLICATION, NO_ACTION = 0x8, 0x80000001, 0x80000003, 0x3
Measured = tuple[int, int, bytes, bytes]  # register, type, digest, data


def image(name: str) -> bytes:
    """Return the digest that stands for an image of this name."""
    return _digest(b"propolis/rehearsed-image/1\0" + name.encode())


def boot(tpm: Tpm, log: Path, loaded: bytes, *, secure: bool = True) -> None:
    """Measure a boot that loads the image with this digest, and write its log. Raises TpmError: this is no emulator."""
    if not tpm.emulated:
        raise TpmError("a boot is rehearsed in an emulated TPM only")
    events = _events(loaded, secure=secure)
    for register, _, digest, _ in events:
        tpm.pcr_extend(register, digest)
    log.write_bytes(_header() + b"".join(map(_agile, events)))


def _events(loaded: bytes, *, secure: bool) -> list[Measured]:
    crtm = "propolis rehearsal\0".encode("utf-16-le")
    variables = [_variable("SecureBoot", b"\x01" if secure else b"")]
    variables += [_variable(name, b"") for name in ("PK", "KEK")]
    events = [(0, CRTM, _digest(crtm), crtm)]
    events += [(7, VARIABLE, _digest(each), each) for each in variables]
    events += [(register, SEPARATOR, _digest(SEPARATES), SEPARATES) for register in range(8)]
    return [*events, (4, APPLICATION, loaded, b"")]


def _variable(name: str, data: bytes) -> bytes:
    """UEFI_VARIABLE_DATA."""
    letters = name.encode("utf-16-le")
    return GLOBAL + len(name).to_bytes(8, "little") + len(data).to_bytes(8, "little") + letters + data


def _header() -> bytes:
    """A log's first entry: TCG_PCR_EVENT with a TCG_EfiSpecIDEvent of one bank."""
    spec = b"Spec ID Event03\0" + bytes(4) + bytes((0, 2, 0, 2)) + (1).to_bytes(4, "little")
    spec += int(Alg.SHA256).to_bytes(2, "little") + (32).to_bytes(2, "little") + b"\0"
    return bytes(4) + NO_ACTION.to_bytes(4, "little") + bytes(20) + len(spec).to_bytes(4, "little") + spec


def _agile(event: Measured) -> bytes:
    """TCG_PCR_EVENT2."""
    register, kind, digest, data = event
    head = register.to_bytes(4, "little") + kind.to_bytes(4, "little") + (1).to_bytes(4, "little")
    return head + int(Alg.SHA256).to_bytes(2, "little") + digest + len(data).to_bytes(4, "little") + data


def _digest(data: bytes) -> bytes:
    digest = Hash(SHA256())
    digest.update(data)
    return digest.finalize()
