"""Our TPM client and our arithmetic beside tpm2-pytss, one swtpm between them: what one makes the other takes."""

import os
import secrets
import shutil
import socket
import subprocess
import time

import pytest

os.environ["TSS2_LOG"] = "all+NONE"
pytest.importorskip("tpm2_pytss", reason="tpm2-pytss is not installed: pip install tpm2-pytss, beside libtss2-dev")

import tpm2_pytss as pytss
from cryptography.hazmat.primitives.asymmetric import ec
from tpm2_pytss import utils

from propolis.adapters.tpm import keys, storage
from propolis.adapters.tpm.client import ENDORSEMENT, Sealed, Tpm
from propolis.adapters.tpm.lines import SocketLine
from propolis.adapters.world.system import SystemEntropy
from propolis.crypto.tpm import outside, policy, public
from propolis.crypto.tpm.ids import Alg, Compare, Handle, SessionKind
from propolis.decisions.appraisal import quote

pytestmark = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm")
PCRS = (0, 4, 7)
SECRET = b"s" * 32
COUNTER = 0x01800123


def free_pair():
    """Return a port that is free, and the next one is."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def machine(tmp_path):
    """A short-lived swtpm with a control channel, which the other stack asks for; its port."""
    port = free_pair()
    words = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tmp_path}", "--flags", "not-need-init,startup-clear"]
    words += ["--server", f"type=tcp,port={port},bindaddr=127.0.0.1", "--ctrl", f"type=tcp,port={port + 1}"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not listens(port + 1):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield port
    process.kill()
    process.wait()


def ours(port):
    return Tpm(SocketLine(("127.0.0.1", port)), SystemEntropy())


def theirs(port):
    return pytss.ESAPI(f"swtpm:host=127.0.0.1,port={port}")


def area(template):
    made, _ = pytss.TPM2B_PUBLIC.unmarshal(len(template).to_bytes(2, "big") + template)
    return made


def scalar():
    return secrets.randbelow(2**255) + 1


def test_the_same_template_is_the_same_key_of_the_same_name(machine):
    found = {}
    with ours(machine) as tpm:
        for name, template, hierarchy in (
            ("ek", public.ek_ecc(), ENDORSEMENT),
            ("rsa", public.ek_rsa(), ENDORSEMENT),
            ("ak", public.ak_ecc(), ENDORSEMENT),
        ):
            with tpm.primary(hierarchy, template) as key:
                found[name] = key.public.raw, key.public.name
    with theirs(machine) as esys:
        for name, template in (("ek", public.ek_ecc()), ("rsa", public.ek_rsa()), ("ak", public.ak_ecc())):
            handle, made, *_ = esys.create_primary(
                pytss.TPM2B_SENSITIVE_CREATE(), area(template), primary_handle=pytss.ESYS_TR.ENDORSEMENT
            )
            assert made.marshal()[2:] == found[name][0]
            assert bytes(made.get_name()) == found[name][1]
            esys.flush_context(handle)


def test_a_quote_of_theirs_holds_here_and_one_of_ours_there(machine):
    with theirs(machine) as esys:
        ak, made, *_ = esys.create_primary(
            pytss.TPM2B_SENSITIVE_CREATE(), area(public.ak_ecc()), primary_handle=pytss.ESYS_TR.ENDORSEMENT
        )
        attest, signature = esys.quote(ak, "sha256:0,4,7", b"b" * 32)
        esys.flush_context(ak)
    with ours(machine) as tpm, keys.attestation_key(tpm) as key:
        values = tpm.pcr_read(PCRS)
        asked = quote.Asked(binding=b"b" * 32, pcrs=PCRS)
        assert quote.verify(key.public, bytes(attest), signature.marshal(), values, asked).values == values
        mine = tpm.quote(key, PCRS, b"c" * 32)
    parsed, _ = pytss.TPMT_SIGNATURE.unmarshal(mine.signature)
    parsed.verify_signature(made, mine.attest)
    told, _ = pytss.TPMS_ATTEST.unmarshal(mine.attest)
    assert bytes(told.extraData) == b"c" * 32


def test_policy_digests_are_those_of_a_trial(machine):
    signer = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    approver = public.parse(public.verifying_key(signer))
    with ours(machine) as tpm, keys.storage_key(tpm) as srk:
        values = tpm.pcr_read(PCRS)
        with tpm.session(srk) as session:
            index = storage.define_counter(tpm, COUNTER, session)
    most = (5).to_bytes(8, "big")
    wanted = {
        "pcr": policy.pcr(policy.EMPTY, values),
        "auth": policy.auth_value(policy.EMPTY),
        "secret": policy.secret(policy.EMPTY, Handle.ENDORSEMENT.to_bytes(4, "big")),
        "nv": policy.nv(policy.EMPTY, index.name, most, 0, Compare.UNSIGNED_LE),
        "authorize": policy.authorize(approver.name, b"ref"),
    }
    assert wanted["secret"] == public.EK_POLICY
    with theirs(machine) as esys:
        counter = esys.tr_from_tpmpublic(COUNTER)

        def trial(step):
            session = esys.start_auth_session(
                pytss.ESYS_TR.NONE, pytss.ESYS_TR.NONE, pytss.TPM2_SE.TRIAL, pytss.TPMT_SYM_DEF(algorithm=pytss.TPM2_ALG.NULL),
                pytss.TPM2_ALG.SHA256,
            )  # fmt: skip
            step(session)
            digest = bytes(esys.policy_get_digest(session))
            esys.flush_context(session)
            return digest

        assert wanted["pcr"] == trial(lambda s: esys.policy_pcr(s, pytss.TPM2B_DIGEST(), "sha256:0,4,7"))
        assert wanted["auth"] == trial(esys.policy_auth_value)
        assert wanted["secret"] == trial(
            lambda s: esys.policy_secret(
                pytss.ESYS_TR.ENDORSEMENT, s, b"", b"", b"", 0, session1=pytss.ESYS_TR.PASSWORD
            )
        )
        assert wanted["nv"] == trial(lambda s: esys.policy_nv(counter, counter, s, most, pytss.TPM2_EO.UNSIGNED_LE, 0))
        ticket = pytss.TPMT_TK_VERIFIED(
            tag=pytss.TPM2_ST.VERIFIED, hierarchy=pytss.TPM2_RH.OWNER
        )  # a trial checks none
        name = pytss.TPM2B_NAME(approver.name)
        assert wanted["authorize"] == trial(lambda s: esys.policy_authorize(s, policy.EMPTY, name, ticket, b"ref"))


def test_a_credential_of_ours_opens_there_and_one_of_theirs_here(machine):
    with ours(machine) as tpm, tpm.primary(ENDORSEMENT, public.ek_ecc()) as ek, keys.attestation_key(tpm) as ak:
        theirs_made = utils.make_credential(area(ek.public.raw), SECRET, pytss.TPM2B_NAME(ak.public.name))
        blob, secret = (bytes(each.marshal())[2:] for each in theirs_made)
        assert tpm.activate(ak, ek, ek, blob, secret) == SECRET
        ek_area, name = ek.public, ak.public.name
    blob, secret = outside.make_credential(ek_area, name, SECRET, secrets.token_bytes(32), scalar())
    with theirs(machine) as esys:
        ek, *_ = esys.create_primary(
            pytss.TPM2B_SENSITIVE_CREATE(), area(public.ek_ecc()), primary_handle=pytss.ESYS_TR.ENDORSEMENT
        )
        ak, *_ = esys.create_primary(
            pytss.TPM2B_SENSITIVE_CREATE(), area(public.ak_ecc()), primary_handle=pytss.ESYS_TR.ENDORSEMENT
        )
        session = esys.start_auth_session(
            pytss.ESYS_TR.NONE, pytss.ESYS_TR.NONE, pytss.TPM2_SE.POLICY, pytss.TPMT_SYM_DEF(algorithm=pytss.TPM2_ALG.NULL),
            pytss.TPM2_ALG.SHA256,
        )  # fmt: skip
        esys.policy_secret(pytss.ESYS_TR.ENDORSEMENT, session, b"", b"", b"", 0, session1=pytss.ESYS_TR.PASSWORD)
        wrapped, _ = pytss.TPM2B_ID_OBJECT.unmarshal(len(blob).to_bytes(2, "big") + blob)
        encrypted, _ = pytss.TPM2B_ENCRYPTED_SECRET.unmarshal(len(secret).to_bytes(2, "big") + secret)
        opened = esys.activate_credential(ak, ek, wrapped, encrypted, session2=session)
        assert bytes(opened) == SECRET


def test_an_object_wrapped_here_is_imported_there_and_one_of_theirs_here(machine):
    with ours(machine) as tpm, keys.storage_key(tpm) as srk:
        parent = srk.public
        values = tpm.pcr_read(PCRS)
        digest = policy.pcr(policy.EMPTY, values)
        template = pytss.TPMT_PUBLIC(
            type=pytss.TPM2_ALG.KEYEDHASH, nameAlg=pytss.TPM2_ALG.SHA256, objectAttributes=pytss.TPMA_OBJECT.NODA,
            authPolicy=digest, parameters=pytss.TPMU_PUBLIC_PARMS(keyedHashDetail=pytss.TPMS_KEYEDHASH_PARMS(
                scheme=pytss.TPMT_KEYEDHASH_SCHEME(scheme=pytss.TPM2_ALG.NULL))),
        )  # fmt: skip
        sensitive, made = pytss.TPM2B_SENSITIVE.keyedhash_from_secret(SECRET, objectAttributes=pytss.TPMA_OBJECT.NODA)
        made.publicArea.authPolicy = template.authPolicy
        _, duplicate, seed = utils.wrap(area(parent.raw).publicArea, made, sensitive)
        with tpm.session(srk) as session:
            parts = (made.marshal()[2:], duplicate.marshal()[2:], seed.marshal()[2:])
            taken = tpm.import_wrapped(srk, session, *parts)
        assert isinstance(taken, Sealed)
        with (
            tpm.session(srk) as session,
            tpm.loaded(srk, taken, session) as item,
            tpm.session(srk, kind=SessionKind.POLICY) as proving,
        ):
            tpm.policy_pcr(proving, PCRS, Alg.SHA256)
            assert tpm.unseal(item, proving) == SECRET
    plain, unique = outside.sealed_data(SECRET, b"", secrets.token_bytes(32))
    mine = public.imported_object(digest, unique)
    duplicate, seed = outside.wrap(parent, mine, plain, secrets.token_bytes(32), scalar())
    with theirs(machine) as esys:
        srk, *_ = esys.create_primary(pytss.TPM2B_SENSITIVE_CREATE(), area(public.srk_ecc()))
        wrapped, _ = pytss.TPM2B_PRIVATE.unmarshal(len(duplicate).to_bytes(2, "big") + duplicate)
        encrypted, _ = pytss.TPM2B_ENCRYPTED_SECRET.unmarshal(len(seed).to_bytes(2, "big") + seed)
        null = pytss.TPMT_SYM_DEF_OBJECT(algorithm=pytss.TPM2_ALG.NULL)
        private = esys.import_(srk, b"", area(mine), wrapped, encrypted, null)
        item = esys.load(srk, private, area(mine))
        session = esys.start_auth_session(
            pytss.ESYS_TR.NONE, pytss.ESYS_TR.NONE, pytss.TPM2_SE.POLICY, pytss.TPMT_SYM_DEF(algorithm=pytss.TPM2_ALG.NULL),
            pytss.TPM2_ALG.SHA256,
        )  # fmt: skip
        esys.policy_pcr(session, pytss.TPM2B_DIGEST(), "sha256:0,4,7")
        assert bytes(esys.unseal(item, session1=session)) == SECRET
