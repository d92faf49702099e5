"""How good a platform's versions are: TCB levels of platform, TDX module and quoting enclave, put together (evidence.md, L1-L7).

After Intel's own library (Intel SGX/TDX DCAP Quote Verification Library, TCB level selection and status convergence).
"""

import msgspec

from propolis.decisions.appraisal.collateral import Level, Module, QeIdentity, TcbInfo
from propolis.decisions.appraisal.dcap_quote import TDX, Quote, SgxBody
from propolis.decisions.appraisal.pck import COMPONENTS, Platform
from propolis.decisions.appraisal.vetting import Judged
from propolis.terms.errors import Rejected

UP_TO_DATE, OUT_OF_DATE, REVOKED = "UpToDate", "OutOfDate", "Revoked"
HARDENING, CONFIGURATION = "SWHardeningNeeded", "ConfigurationNeeded"
BOTH, OLD_AND_CONFIGURATION = "ConfigurationAndSWHardeningNeeded", "OutOfDateConfigurationNeeded"
RELAUNCH, RELAUNCH_AND_CONFIGURATION = "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded"
_KNOWN = frozenset({UP_TO_DATE, OUT_OF_DATE, REVOKED, HARDENING, CONFIGURATION, BOTH, OLD_AND_CONFIGURATION})
_AGED = {
    UP_TO_DATE: OUT_OF_DATE,
    HARDENING: OUT_OF_DATE,
    CONFIGURATION: OLD_AND_CONFIGURATION,
    BOTH: OLD_AND_CONFIGURATION,
}
_SECOND_SVN = 584  # where a TD 1.5 body has TEE_TCB_SVN_2: the module now running


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A TCB's status in Intel's words ("unknown" without collateral), the quoting enclave's alone, and the advisories."""

    status: str
    qe: str
    advisories: tuple[str, ...]


def standing(judged: Judged, platform: Platform, qe: SgxBody, quote: Quote) -> Standing:
    """Judge all versions. Raises Rejected: qe_identity, tcb_none, tcb_revoked, tcb_module, tcb_unknown."""
    of_qe = _quoting_enclave(judged.qe, qe)
    if quote.tee == TDX:
        status, advisories = _of_td(judged.tcb, platform, quote.body)
    else:
        level = _platform(judged.tcb, platform, None, 0)
        status, advisories = level.status, level.advisories
    if of_qe.status == OUT_OF_DATE:
        status = _AGED.get(status, status)
    if REVOKED in (status, of_qe.status):
        raise Rejected("tcb_revoked", "Intel revoked this TCB")
    both = tuple(dict.fromkeys((*advisories, *of_qe.advisories)))
    return Standing(status=status, qe=of_qe.status, advisories=both)


def _of_td(info: TcbInfo, platform: Platform, body: bytes) -> tuple[str, tuple[str, ...]]:
    """Judge a TD's platform and module (L4-L6); a TD whose module was updated under it is advised to start again."""
    status, advisories = _with_module(info, platform, body, body[:16])
    if status in (OUT_OF_DATE, OLD_AND_CONFIGURATION) and len(body) > _SECOND_SVN:
        try:
            now, _ = _with_module(info, platform, body, body[_SECOND_SVN : _SECOND_SVN + 16])
        except Rejected:
            return status, advisories
        if now in (UP_TO_DATE, HARDENING):
            return RELAUNCH, advisories
        if now in (CONFIGURATION, BOTH):
            return RELAUNCH_AND_CONFIGURATION, advisories
    return status, advisories


def _with_module(info: TcbInfo, platform: Platform, body: bytes, svn: bytes) -> tuple[str, tuple[str, ...]]:
    module = _module(info, svn[1])
    if bytes.fromhex(module.mrsigner) != body[64:112]:
        raise Rejected("tcb_module", "a TDX module that Intel did not sign")
    mask = bytes.fromhex(module.mask)
    if bytes(a & m for a, m in zip(body[112:120], mask, strict=True)) != bytes.fromhex(module.attributes):
        raise Rejected("tcb_module", "a TDX module with other attributes")
    level = _platform(info, platform, svn, 2 if svn[1] else 0)
    status, advisories = level.status, level.advisories
    if svn[1]:
        of_module = _first(module.levels, svn[0], "TDX module")
        advisories = (*advisories, *of_module.advisories)
        if of_module.status == OUT_OF_DATE:
            status = _AGED.get(status, status)
        elif of_module.status == REVOKED:
            status = REVOKED
    return status, tuple(dict.fromkeys(advisories))


def _module(info: TcbInfo, version: int) -> Module:
    if version == 0:
        if info.module is None:
            raise Rejected("tcb_module", "TCB info that knows no TDX module")
        return _checked(info.module)
    for module in info.modules:
        if module.id.upper() == f"TDX_{version:02X}":
            return _checked(module)
    raise Rejected("tcb_module", f"TCB info that does not know version {version} of the TDX module")


def _checked(module: Module) -> Module:
    try:
        sizes = [len(bytes.fromhex(text)) for text in (module.mrsigner, module.attributes, module.mask)]
    except ValueError as error:
        raise Rejected("collateral", "hex that is none") from error
    if sizes != [48, 8, 8]:
        raise Rejected("collateral", "a TDX module's identity of odd size")
    return module


def _platform(info: TcbInfo, platform: Platform, tee: bytes | None, skip: int) -> Level:
    """Return the first level that nothing of the platform is below (L2, L3)."""
    for level in info.levels:
        sgx, tdx = level.tcb.sgxtcbcomponents, level.tcb.tdxtcbcomponents
        if len(sgx) != COMPONENTS or (tee is not None and len(tdx) != COMPONENTS):
            raise Rejected("collateral", "a TCB level with components missing")
        reached = platform.pce_svn >= level.tcb.pcesvn and all(
            ours >= each.svn for ours, each in zip(platform.components, sgx, strict=True)
        )
        if tee is not None:
            reached = reached and all(ours >= each.svn for ours, each in zip(tee[skip:], tdx[skip:], strict=True))
        if reached:
            return _known(level)
    raise Rejected("tcb_none", "the platform is below every TCB level that Intel knows")


def _first(levels: tuple[Level, ...], svn: int, what: str) -> Level:
    for level in levels:
        if svn >= level.tcb.isvsvn:
            return _known(level)
    raise Rejected("tcb_none", f"the {what} is below every TCB level that Intel knows")


def _known(level: Level) -> Level:
    if level.status not in _KNOWN:
        raise Rejected("tcb_unknown", f"a TCB status that nobody here understands: {level.status[:40]}")
    return level


def _quoting_enclave(identity: QeIdentity, qe: SgxBody) -> Level:
    """Check that the quoting enclave is the one named (L1)."""
    try:
        misc, misc_mask, attributes, mask, signer = (
            bytes.fromhex(text)
            for text in (identity.misc, identity.misc_mask, identity.attributes, identity.mask, identity.mrsigner)
        )
    except ValueError as error:
        raise Rejected("collateral", "hex that is none") from error
    if [len(misc), len(misc_mask), len(attributes), len(mask)] != [4, 4, 16, 16]:
        raise Rejected("collateral", "a quoting enclave's identity of odd size")
    if signer != qe.signer or identity.product != qe.product:
        raise Rejected("qe_identity", "a quoting enclave that is not Intel's")
    # miscselect and its mask are big-endian text of a number, attributes are text of bytes (QVL does the same)
    if qe.misc & int.from_bytes(misc_mask, "big") != int.from_bytes(misc, "big"):
        raise Rejected("qe_identity", "a quoting enclave with other features")
    if bytes(a & m for a, m in zip(qe.attributes, mask, strict=True)) != attributes:
        raise Rejected("qe_identity", "a quoting enclave with other attributes")
    return _first(identity.levels, qe.svn, "quoting enclave")
