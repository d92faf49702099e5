"""Verification and appraisal of AMD SEV-SNP reports: chain, signature, what binds key and report (evidence.md, S1-S12).

The key is a chip's (VCEK) or a cloud's (VLEK); its certificate names chip and TCB, and both must be the report's. The
simple facts (debug, migratable, VMPL) are judged in `appraise` alone.
"""

from propolis.crypto import crl, der, keys, paths
from propolis.crypto.paths import Roots
from propolis.crypto.x509 import Certificate
from propolis.decisions.appraisal import snp_report
from propolis.decisions.appraisal.result import (
    NO_REFERENCE,
    Appraised,
    Endorsements,
    Facts,
    Reference,
    Verified,
    appraised,
    bound,
    expires,
)
from propolis.decisions.appraisal.snp_report import Report, Tcb
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected
from propolis.terms.trust import Value, Vector

TECHNOLOGY = "sev-snp"
_AMD = "1.3.6.1.4.1.3704.1."
_PRODUCT, _CHIP, _CLOUD = f"{_AMD}2", f"{_AMD}4", f"{_AMD}5"
_SPL = {
    "bootloader": f"{_AMD}3.1",
    "tee": f"{_AMD}3.2",
    "snp": f"{_AMD}3.3",
    "microcode": f"{_AMD}3.8",
    "fmc": f"{_AMD}3.9",
}
_SMT, _MIGRATE, _DEBUG, _SINGLE = 16, 18, 19, 20
_TSME, _HIDING, _ALIAS = 1, 4, 5


def verify(evidence: bytes, endorsements: Endorsements, nonce: bytes | None, roots: Roots, now: Seconds) -> Verified:
    """Verify a report of 1184 bytes; the VCEK or VLEK is among the endorsements. Raises Rejected."""
    report = snp_report.parse(evidence)
    path, facts = verify_signed(report, endorsements, roots, now)
    fresh = bound(nonce, report.report_data)  # S12
    return Verified(
        technology=TECHNOLOGY,
        identity=_identity(path[0]),
        facts=facts,
        fresh=fresh,
        until=expires(now, crl.until(path, (*endorsements.lists, *roots.lists), now)),
    )


def verify_signed(
    report: Report, endorsements: Endorsements, roots: Roots, now: Seconds
) -> tuple[tuple[Certificate, ...], Facts]:
    """Verify all but freshness; return the path and the facts. Raises Rejected."""
    leaf = _leaf(report, endorsements)
    path = paths.build(leaf, endorsements.certificates, roots, now)  # S6
    looked = crl.revoked(path, endorsements.lists, now, roots.lists)  # S7
    keys.check_raw(leaf.key, 384, report.raw[: snp_report.SIGNED], report.r, report.s)  # S8
    product = _bind_product(report, leaf)  # S9
    reported, current, committed, launch = (
        snp_report.tcb(raw, product) for raw in (report.reported, report.current, report.committed, report.launch)
    )
    if _certified(leaf, reported) != reported:  # S10
        raise Rejected("tcb_mismatch", "the key is for another TCB than the report's")
    if not (snp_report.not_above(committed, current) and snp_report.not_above(reported, current)):
        raise Rejected("tcb_order", "a TCB that is committed or reported above the current one")
    if report.signer == snp_report.VCEK:  # S11
        _bind_chip(report, leaf)
    return path, _facts(report, product, reported, launch, looked=bool(looked))


def _leaf(report: Report, endorsements: Endorsements) -> Certificate:
    """Return the certificate of the kind of key that the report names, of this chip and TCB if there is one (S5)."""
    wanted, other = (_CHIP, _CLOUD) if report.signer == snp_report.VCEK else (_CLOUD, _CHIP)
    found = [each for each in endorsements.certificates if wanted in each.extensions]
    if found:
        return next((each for each in found if _names(each, report)), found[0])
    if any(other in each.extensions for each in endorsements.certificates):
        raise Rejected("key_kind", "the certificate is not of the kind of key that signed the report")
    raise Rejected("endorsement_missing", "the certificate of the chip's key (VCEK or VLEK) is missing")


def _names(leaf: Certificate, report: Report) -> bool:
    """Return whether a certificate says it is for this report; whether that is so is found out later."""
    try:
        product = _bind_product(report, leaf)
        reported = snp_report.tcb(report.reported, product)
        if report.signer == snp_report.VCEK:
            _bind_chip(report, leaf)
        return _certified(leaf, reported) == reported
    except Rejected:
        return False


def _bind_product(report: Report, leaf: Certificate) -> str:
    """Return the product; certificate and report must agree where both say it."""
    named = _text(leaf, _PRODUCT).split("-")[0]
    named = {"Siena": "Genoa", "Bergamo": "Genoa", "Venice": ""}.get(named, named)
    if named not in ("Milan", "Genoa", "Turin"):
        raise Rejected("version", "a product whose layout is not known")
    if report.product and report.product != named:
        raise Rejected("chip_id", f"a key of {named} under a report of {report.product}")
    return named


def _text(leaf: Certificate, name: str) -> str:
    found = leaf.extensions.get(name)
    if found is None:
        raise Rejected("chain", f"a chip's certificate without extension {name}")
    element = der.one(found.value, found.value[0] if found.value else 0)
    if element.tag not in (der.IA5, der.UTF8, der.PRINTABLE) or not element.body.isascii() or len(element.body) > 64:
        raise Rejected("der", "a product's name of odd shape")
    return element.body.decode("ascii")


def _certified(leaf: Certificate, like: Tcb) -> Tcb:
    certified: Tcb = {}
    for name in like:
        found = leaf.extensions.get(_SPL[name])
        if found is None:
            raise Rejected("chain", f"a chip's certificate that does not say its {name} version")
        certified[name] = der.integer(der.one(found.value, der.INTEGER), most=256)
    return certified


def _chip(leaf: Certificate) -> bytes:
    """Return the chip's id: 64 bytes, 8 on Turin; some certificates wrap it in an OCTET STRING, some do not."""
    value = leaf.extensions[_CHIP].value
    return value if len(value) in (8, 64) else der.one(value, der.OCTET_STRING).body


def _bind_chip(report: Report, leaf: Certificate) -> None:
    chip = _chip(leaf)
    if len(chip) not in (8, 64) or not any(chip) or report.chip != chip.ljust(64, b"\0"):
        raise Rejected("chip_id", "the key is of another chip than the report's")


def _identity(leaf: Certificate) -> str:
    return f"chip:{_chip(leaf).hex()}" if _CHIP in leaf.extensions else f"cloud:{leaf.pin}"


def _facts(report: Report, product: str, reported: Tcb, launch: Tcb, *, looked: bool) -> Facts:
    return {
        "product": product,
        "report-version": report.version,
        "signed-by": "vcek" if report.signer == snp_report.VCEK else "vlek",
        "debug": report.allows(_DEBUG),
        "migratable": report.allows(_MIGRATE),
        "smt-allowed": report.allows(_SMT),
        "single-socket": report.allows(_SINGLE),
        "vmpl": report.vmpl,
        "tsme": report.has(_TSME),
        "ciphertext-hiding": report.has(_HIDING),
        "alias-check-complete": report.has(_ALIAS),
        "guest-svn": report.guest_svn,
        "measurement": report.measurement.hex(),
        "report-data": report.report_data.hex(),
        "host-data": report.host_data.hex(),
        "id-key": report.id_key.hex(),
        "author-key": report.author_key.hex(),
        "report-id": report.report_id.hex(),
        "chip-id": report.chip.hex(),
        **{f"tcb-{name}": value for name, value in reported.items()},
        **{f"launch-tcb-{name}": value for name, value in launch.items()},
        "revocation-checked": looked,
    }


def appraise(verified: Verified, reference: Reference = NO_REFERENCE) -> Appraised:
    """Judge a report. Raises Rejected: debug, migratable, vmpl. Milan and a firmware nobody vouches for are warnings."""
    facts = verified.facts
    if facts["debug"]:
        raise Rejected("debug", "the host may read this guest")
    if facts["migratable"]:
        raise Rejected("migratable", "a migration agent may take this guest elsewhere")
    if facts["vmpl"] != 0:
        raise Rejected(
            "vmpl", f"asked for from privilege level {facts['vmpl']}, where code below may speak for the guest"
        )
    milan, checked, known = facts["product"] == "Milan", bool(facts["revocation-checked"]), _known(facts, reference)
    current = _current(facts, reference)
    claims = {
        "debug-off": True,
        "not-milan": not milan,
        "alias-check-complete": bool(facts["alias-check-complete"]),
        "tcb-current": current and checked,
        "known-image": known,
    }
    safe = current and checked and not milan and bool(facts["alias-check-complete"])
    vector = Vector(
        instance_identity=Value.RECOGNIZED,
        configuration=Value.RECOGNIZED,
        executables=Value.APPROVED_BOOT if known else Value.UNRECOGNIZED,
        hardware=Value.RECOGNIZED if safe else Value.UNSAFE,
        runtime_opaque=Value.RECOGNIZED if safe else 0,
    )
    return appraised(verified, claims, vector)


def _known(facts: Facts, reference: Reference) -> bool:
    return str(facts["measurement"]) in reference.images


def _current(facts: Facts, reference: Reference) -> bool:
    """Return whether every part of the TCB has a least version that it reaches; without reference values, no."""
    product = str(facts["product"]).lower()
    parts = [name for name in _SPL if f"tcb-{name}" in facts]
    wanted = {name: reference.least.get((f"{TECHNOLOGY}-{product}", name)) for name in parts}
    return all(least is not None and _number(facts[f"tcb-{name}"]) >= least for name, least in wanted.items())


def _number(fact: object) -> int:
    return fact if isinstance(fact, int) else -1
