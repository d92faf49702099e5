"""The Authenticode SHA-256 of an EFI image: what firmware measures when it loads one (Microsoft's PE signature format).

The hash leaves out what a signature changes: the checksum, the entry of the certificate table, and the table itself. Strict where
loaders differ: sections that overlap or lie outside the file, and a table that is not the file's end, are refused.
"""

from cryptography.hazmat.primitives.hashes import SHA256, Hash

from propolis.terms.errors import DataError

MAX_IMAGE = 512 * 2**20  # a unified kernel image with its initrd is some 100 MB
_PLUS, _PLAIN = 0x20B, 0x10B  # optional headers of 64 and 32 bits
_CHECKSUM, _HEADERS_SIZE = 64, 60
_DIRECTORIES = {_PLUS: 112, _PLAIN: 96}
_SECURITY, _SECTION = 4, 40
Span = tuple[int, int]


def digest(image: bytes) -> str:
    """Return the digest in hex. Raises DataError: this is no image that firmware loads, or an ambiguous one."""
    if len(image) > MAX_IMAGE:
        raise DataError(f"an image of {len(image)} bytes, at most {MAX_IMAGE} are read")
    hashed = Hash(SHA256())
    for first, last in _spans(image):
        hashed.update(image[first:last])
    return hashed.finalize().hex()


def _spans(image: bytes) -> list[Span]:
    """Return the parts that are hashed, in order: headers but two fields, sections by their place, what follows them."""
    if image[:2] != b"MZ":
        raise DataError("not an EFI image: it does not begin with MZ")
    coff = _u32(image, 0x3C) + 4
    if image[coff - 4 : coff] != b"PE\0\0":
        raise DataError("not an EFI image: there is no PE header")
    optional = coff + 20
    magic, entries = _u16(image, optional), _u16(image, coff + 16)
    if magic not in _DIRECTORIES:
        raise DataError("not an EFI image: an optional header of another kind")
    directories = optional + _DIRECTORIES[magic]
    if _u32(image, directories - 4) <= _SECURITY or entries < _DIRECTORIES[magic] + 8 * (_SECURITY + 1):
        raise DataError("an image without room for a certificate table is not hashed here")
    entry, headers = directories + 8 * _SECURITY, _u32(image, optional + _HEADERS_SIZE)
    if not entry + 8 <= headers <= len(image):
        raise DataError("an image whose headers end elsewhere than it says")
    checksum = optional + _CHECKSUM
    spans = [(0, checksum), (checksum + 4, entry), (entry + 8, headers)]
    end = headers
    for first, last in _sections(image, optional + entries, _u16(image, coff + 2)):
        if first < end or last > len(image):
            raise DataError("an image whose sections overlap or lie outside the file")
        spans.append((first, last))
        end = last
    return [*spans, (end, _table(image, entry, end))]


def _sections(image: bytes, table: int, count: int) -> list[Span]:
    found = []
    for place in range(table, table + _SECTION * count, _SECTION):
        size, first = _u32(image, place + 16), _u32(image, place + 20)
        if size:
            found.append((first, first + size))
    return sorted(found)


def _table(image: bytes, entry: int, end: int) -> int:
    """Return where what is hashed ends: at the certificate table, which is the file's end."""
    first, size = _u32(image, entry), _u32(image, entry + 4)
    if not size:
        return len(image)
    if first < end or first + size != len(image):
        raise DataError("an image whose certificate table is not its end")
    return first


def _u16(image: bytes, place: int) -> int:
    return int.from_bytes(_taken(image, place, 2), "little")


def _u32(image: bytes, place: int) -> int:
    return int.from_bytes(_taken(image, place, 4), "little")


def _taken(image: bytes, place: int, size: int) -> bytes:
    found = image[place : place + size]
    if len(found) != size:
        raise DataError("not an EFI image: it ends within its headers")
    return found
