"""Intel's collateral: TCB info and QE identity, signed JSON from the provisioning service (PCS v4; evidence.md, T1-T6).

Read from the shapes it is kept in: the service's answers as they came, and bundles with texts and signatures beside each
other. A signature covers the exact text of the inner object, which is never written again.
"""

import binascii
from functools import lru_cache
from typing import TypeVar

import msgspec

from propolis.crypto import crl, x509
from propolis.crypto.crl import RevocationList
from propolis.crypto.x509 import Certificate
from propolis.decisions.appraisal.result import Endorsements
from propolis.terms.errors import Rejected

MAX_DOCUMENT = 256 << 10  # bytes; a bundle of Intel's is 20 KB
T = TypeVar("T")


class Component(msgspec.Struct, frozen=True):
    """One component's version."""

    svn: int = 0


class Levels(msgspec.Struct, frozen=True):
    """The versions of a level: of the platform, or `isvsvn` of an enclave or module."""

    sgxtcbcomponents: tuple[Component, ...] = ()
    tdxtcbcomponents: tuple[Component, ...] = ()
    pcesvn: int = 0
    isvsvn: int = 0


class Level(msgspec.Struct, frozen=True, rename={"status": "tcbStatus", "advisories": "advisoryIDs"}):
    """One TCB level."""

    tcb: Levels
    status: str
    advisories: tuple[str, ...] = ()


class Module(msgspec.Struct, frozen=True, rename={"mask": "attributesMask", "levels": "tcbLevels"}):
    """What a TDX module must be; with an `id`, the module of one major version."""

    mrsigner: str
    attributes: str
    mask: str
    id: str = ""
    levels: tuple[Level, ...] = ()


class TcbInfo(
    msgspec.Struct,
    frozen=True,
    rename={
        "since": "issueDate",
        "until": "nextUpdate",
        "pce": "pceId",
        "levels": "tcbLevels",
        "module": "tdxModule",
        "modules": "tdxModuleIdentities",
        "evaluation": "tcbEvaluationDataNumber",
    },
):
    """Which versions of a platform are how good."""

    id: str
    version: int
    since: str
    until: str
    fmspc: str
    pce: str
    levels: tuple[Level, ...]
    module: Module | None = None
    modules: tuple[Module, ...] = ()
    evaluation: int = 0


class QeIdentity(
    msgspec.Struct,
    frozen=True,
    rename={
        "since": "issueDate",
        "until": "nextUpdate",
        "misc": "miscselect",
        "misc_mask": "miscselectMask",
        "mask": "attributesMask",
        "product": "isvprodid",
        "levels": "tcbLevels",
        "evaluation": "tcbEvaluationDataNumber",
    },
):
    """What a quoting enclave must be, and which of its versions are how good."""

    id: str
    version: int
    since: str
    until: str
    misc: str
    misc_mask: str
    attributes: str
    mask: str
    mrsigner: str
    product: int
    levels: tuple[Level, ...]
    evaluation: int = 0


class _Bundle(msgspec.Struct, frozen=True):
    """All collateral in one JSON document, each text with its signature beside it."""

    tcb_info: str
    tcb_info_signature: str
    qe_identity: str
    qe_identity_signature: str
    tcb_info_issuer_chain: str = ""
    qe_identity_issuer_chain: str = ""
    pck_crl_issuer_chain: str = ""
    root_ca_crl: str = ""
    pck_crl: str = ""


class _TcbAnswer(msgspec.Struct, frozen=True, rename={"body": "tcbInfo"}):
    body: msgspec.Raw
    signature: str


class _QeAnswer(msgspec.Struct, frozen=True, rename={"body": "enclaveIdentity"}):
    body: msgspec.Raw
    signature: str


class Signed(msgspec.Struct, frozen=True):
    """A text and the signature said to be over it."""

    text: bytes
    signature: bytes


class Collateral(msgspec.Struct, frozen=True, kw_only=True):
    """What was brought along; nothing is verified yet."""

    tcb_infos: tuple[Signed, ...] = ()
    qe_identities: tuple[Signed, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    lists: tuple[RevocationList, ...] = ()


def gather(endorsements: Endorsements) -> Collateral:
    """Take collateral out of endorsements. Raises Rejected: collateral, oversize, and what the readers raise."""
    joined = Endorsements(certificates=endorsements.certificates, lists=endorsements.lists)
    found = [read(document) for document in endorsements.documents]
    for each in found:
        joined = joined.joined(Endorsements(certificates=each.certificates, lists=each.lists))
    return Collateral(
        tcb_infos=tuple(signed for each in found for signed in each.tcb_infos),
        qe_identities=tuple(signed for each in found for signed in each.qe_identities),
        certificates=joined.certificates,
        lists=joined.lists,
    )


@lru_cache(maxsize=16)  # a value of a value: collateral holds for weeks
def read(document: bytes) -> Collateral:
    """Take collateral out of one document; one that is no collateral holds none. Raises Rejected as `gather`."""
    if len(document) > MAX_DOCUMENT:
        raise Rejected("oversize", f"collateral of {len(document)} bytes")
    if b'"tcb_info"' in document:
        bundle = _json(document, _Bundle)
        endorsed = _endorsed(bundle)
        return Collateral(
            tcb_infos=(Signed(bundle.tcb_info.encode("utf-8", "replace"), unhex(bundle.tcb_info_signature)),),
            qe_identities=(Signed(bundle.qe_identity.encode("utf-8", "replace"), unhex(bundle.qe_identity_signature)),),
            certificates=endorsed.certificates,
            lists=endorsed.lists,
        )
    if b'"tcbInfo"' in document:
        answer = _json(document, _TcbAnswer)
        return Collateral(tcb_infos=(Signed(bytes(answer.body), unhex(answer.signature)),))
    if b'"enclaveIdentity"' in document:
        identity = _json(document, _QeAnswer)
        return Collateral(qe_identities=(Signed(bytes(identity.body), unhex(identity.signature)),))
    return Collateral()


def _endorsed(bundle: _Bundle) -> Endorsements:
    chains = (bundle.tcb_info_issuer_chain, bundle.qe_identity_issuer_chain, bundle.pck_crl_issuer_chain)
    lists = tuple(_list(text) for text in (bundle.root_ca_crl, bundle.pck_crl) if text)
    found = tuple(each for text in chains if text for each in x509.read_all(text.encode()))
    return Endorsements(certificates=found, lists=lists)


def _list(text: str) -> RevocationList:
    if text.startswith("-----BEGIN"):
        for label, body in x509.blocks(text.encode()):
            if label == "X509 CRL":
                return crl.parse(body)
    return crl.parse(unhex(text))


def unhex(text: str) -> bytes:
    """Return bytes that a document states in hex. Raises Rejected(collateral)."""
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError) as error:
        raise Rejected("collateral", "hex that is none") from error


@lru_cache(maxsize=16)
def tcb_info(text: bytes) -> TcbInfo:
    """Read a TCB info's text. Raises Rejected(collateral)."""
    return _json(text, TcbInfo)


@lru_cache(maxsize=16)
def qe_identity(text: bytes) -> QeIdentity:
    """Read a quoting enclave's identity. Raises Rejected(collateral)."""
    return _json(text, QeIdentity)


def _json(text: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Rejected("collateral", f"collateral that is not understood: {error}") from error
