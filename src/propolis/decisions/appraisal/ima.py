"""Linux' IMA measurement list, ASCII or binary: read strictly, replay, match the prefix that was quoted.

Templates ima, ima-ng, ima-sig and ima-buf (kernel: Documentation/security/IMA-templates). A violation extends ones
instead of the zero digest that it logs. The list grows while it is quoted: the prefix whose running value is PCR 10 counts
(docs/specs/attestation.md, step 10).
"""

import hashlib
from binascii import unhexlify
from collections.abc import Iterator

import msgspec

from propolis.crypto.tpm.ids import Alg
from propolis.terms.errors import Rejected

MAX_ENTRIES = 1_000_000
MAX_LIST = 256 << 20
MAX_FIELD = 1 << 20
_VIOLATED = bytes(20)
TEMPLATES = ("ima", "ima-ng", "ima-sig", "ima-buf")
REGISTER = 10
_HASHES = {Alg.SHA1: hashlib.sha1, Alg.SHA256: hashlib.sha256, Alg.SHA384: hashlib.sha384, Alg.SHA512: hashlib.sha512}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement, well-formed. `violation` = what was measured may have been another file."""

    template: str
    digest: bytes  # SHA-1 of the template data, as logged
    data: bytes  # the template data that PCRs of other banks are extended with
    violation: bool

    @property
    def file(self) -> str:
        """What was measured, as "sha256:…" of the content. Told when asked for: an appraisal reads a thousand and names none."""
        return _described(self.template, self.data)[0]

    @property
    def path(self) -> str:
        """Where it lay, as its kernel said."""
        return _described(self.template, self.data)[1]


def parse_binary(data: bytes) -> list[Entry]:
    """Read binary_runtime_measurements. Raises Rejected: oversize, ima_truncated, _template, _field, _digest, _pcr, _count."""
    if len(data) > MAX_LIST:
        raise Rejected("oversize", f"a list of {len(data)} bytes")
    entries: list[Entry] = []
    at = 0
    while at < len(data):
        if len(entries) >= MAX_ENTRIES:
            raise Rejected("ima_count", f"more than {MAX_ENTRIES} entries")
        head, at = _take(data, at, 28)
        if int.from_bytes(head[:4], "little") != REGISTER:
            raise Rejected("ima_pcr", "a measurement of another register")
        size = int.from_bytes(head[24:28], "little")
        if size > 32:
            raise Rejected("ima_template", f"a template's name of {size} bytes")
        name, at = _take(data, at, size)
        template = _template(name)
        body, at = _legacy(data, at) if template == "ima" else _fields_at(data, at)
        entries.append(_entry(template, head[4:24], body))
    return entries


def _take(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if size > len(data) - at:
        raise Rejected("ima_truncated", f"{size} bytes announced, {len(data) - at} there")
    return data[at : at + size], at + size


def _template(name: bytes) -> str:
    text = name.decode("ascii", "replace")
    if text not in TEMPLATES:
        raise Rejected("ima_template", f"template {text!r}")
    return text


def _legacy(data: bytes, at: int) -> tuple[bytes, int]:
    """The first template: a SHA-1 digest, then a sized name; in the register the name stands padded to 256 bytes."""
    digest, at = _take(data, at, 20)
    size, at = _take(data, at, 4)
    length = int.from_bytes(size, "little")
    if length > 255:
        raise Rejected("ima_field", f"a name of {length} bytes")
    name, at = _take(data, at, length)
    return digest + name.ljust(256, b"\x00"), at


def _fields_at(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _take(data, at, 4)
    length = int.from_bytes(size, "little")
    if length > MAX_FIELD:
        raise Rejected("ima_field", f"an entry of {length} bytes")
    return _take(data, at, length)


def _entry(template: str, digest: bytes, body: bytes) -> Entry:
    _described(template, body)  # one that cannot be told is refused, whoever asks
    return _checked(template, digest, body)


def _checked(template: str, digest: bytes, body: bytes) -> Entry:
    violation = digest == _VIOLATED
    if not violation and hashlib.sha1(body, usedforsecurity=False).digest() != digest:
        raise Rejected("ima_digest", "an entry that does not hash to its digest")
    return Entry(template=template, digest=digest, data=body, violation=violation)


def _described(template: str, body: bytes) -> tuple[str, str]:
    if template == "ima":
        return "sha1:" + body[:20].hex(), _text(body[20:].rstrip(b"\x00") + b"\x00")
    fields = list(_fields(body))
    if len(fields) < 2:
        raise Rejected("ima_field", "an entry without digest or name")
    alg, _, value = fields[0].partition(b":\x00")
    try:
        name = alg.decode("ascii")
    except UnicodeDecodeError as error:
        raise Rejected("ima_field", "an algorithm that is no word") from error
    return f"{name}:{value.hex()}", _text(fields[1])


def _fields(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        size, at = _take(body, at, 4)
        field, at = _take(body, at, int.from_bytes(size, "little"))
        yield field


def _text(field: bytes) -> str:
    if not field.endswith(b"\x00") or b"\x00" in field[:-1]:
        raise Rejected("ima_path", "a name that does not end, or ends twice")
    return field[:-1].decode("utf-8", "surrogateescape")


def parse_ascii(data: bytes) -> list[Entry]:
    """Read ascii_runtime_measurements: `PCR template-digest template algorithm:digest path [signature]`. Raises Rejected."""
    if len(data) > MAX_LIST:
        raise Rejected("oversize", f"a list of {len(data)} bytes")
    if b"\x00" in data:
        raise Rejected("ima_path", "a zero byte in a list of lines")
    lines = data.split(b"\n")
    if lines[-1]:
        raise Rejected("ima_truncated", "the last line does not end")
    if len(lines) > MAX_ENTRIES:
        raise Rejected("ima_count", f"more than {MAX_ENTRIES} entries")
    return [_line(line) for line in lines[:-1]]


def _line(line: bytes) -> Entry:
    words = line.split(b" ", 3)
    if len(words) != 4 or words[0] != b"10":
        raise Rejected(
            "ima_pcr" if len(words) == 4 else "ima_field", "not a line of register, digest, template and fields"
        )
    try:
        digest = unhexlify(words[1])
        if len(digest) != 20:
            raise Rejected("ima_field", f"a template digest of {len(digest)} bytes")
        if words[2] == b"ima-ng":  # nearly every entry of nearly every list
            return _plain(digest, words[3])
        template = _template(words[2])
        return _entry(template, digest, _body(template, words[3]))
    except ValueError as error:
        raise Rejected("ima_field", "a digest that is none") from error


def _plain(digest: bytes, rest: bytes) -> Entry:
    """Write ima-ng's data, in which nothing is left to refuse: its name ends once, as no NUL is in a list of lines."""
    stated, _, path = rest.partition(b" ")
    alg, _, value = stated.partition(b":")
    if not alg.isascii():
        raise Rejected("ima_field", "an algorithm that is no word")
    content = unhexlify(value)
    body = b"%b%b:\0%b%b%b\0" % (
        (len(alg) + 2 + len(content)).to_bytes(4, "little"), alg, content, (len(path) + 1).to_bytes(4, "little"), path,
    )  # fmt: skip
    return _checked("ima-ng", digest, body)


def _body(template: str, rest: bytes) -> bytes:
    """Rebuild the template data that the kernel hashed."""
    stated, _, path = rest.partition(b" ")
    if template == "ima":
        digest = unhexlify(stated)
        if len(digest) != 20:
            raise Rejected("ima_field", f"a SHA-1 digest of {len(digest)} bytes")
        return digest + path[:255].ljust(256, b"\x00")
    alg, _, value = stated.partition(b":")
    fields = [alg + b":\x00" + unhexlify(value)]
    name, _, last = path.rpartition(b" ")
    if template == "ima-sig":
        signed = bool(name) and last[:2] == b"03" and len(last) > 16
        file, proof = (name, unhexlify(last)) if signed else (path.rstrip(b" "), b"")
        return _packed([*fields, file + b"\x00", proof])
    return _packed([*fields, name + b"\x00", unhexlify(last)])


def _packed(fields: list[bytes]) -> bytes:
    return b"".join(len(field).to_bytes(4, "little") + field for field in fields)


def matched(entries: list[Entry], quoted: bytes, bank: int = Alg.SHA256, begun: bytes | None = None) -> int:
    """Return how many entries the quoted PCR 10 covers. Raises Rejected(ima_replay): no prefix leads there."""
    hasher = _HASHES.get(Alg(bank)) if bank in _HASHES else None
    if hasher is None:
        raise Rejected("hash_alg", f"bank {bank:#06x}")
    ones = b"\xff" * len(quoted)
    value = begun if begun is not None else bytes(len(quoted))
    if value == quoted:
        return 0
    for count, entry in enumerate(entries, 1):
        digest = ones if entry.violation else hasher(entry.data, usedforsecurity=False).digest()
        value = hasher(value + digest, usedforsecurity=False).digest()
        if value == quoted:
            return count
    raise Rejected("ima_replay", "no prefix of the list leads to the quoted register")
