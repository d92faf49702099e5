"""Attacks on what a TPM proves, each carried out against a real (emulated) TPM and refused: facts, section 3.

Where it can be shown, a naive verifier takes what ours refuses: one that looks at signature, magic, nonce and the hash of the
values it was told, as published ones did. Logs, weak algorithms and open failures are in test_tpm_logs.py.
"""

import base64
import secrets
import shutil

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from propolis.adapters.tpm import storage
from propolis.adapters.tpm.client import ENDORSEMENT, OWNER, Tpm
from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.tpm.recorded import Recorder
from propolis.adapters.tpm.session import Password
from propolis.adapters.world.system import SystemEntropy
from propolis.crypto.tpm import attest, outside, policy, public
from propolis.crypto.tpm.ids import MAGIC, Alg, Command, Handle, SessionKind, Tag
from propolis.crypto.tpm.marshal import sized, u16, u32
from propolis.decisions.appraisal import quote
from propolis.terms.errors import Rejected, TpmError

pytestmark = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm")
PCRS = (0, 4, 7)
BINDING = b"b" * 32


def scalar():
    return secrets.randbelow(2**255) + 1


@pytest.fixture
def machine(tmp_path):
    made = Emulator(tmp_path / "tpm")
    made.start()
    yield made
    made.kill()


@pytest.fixture
def tpm(machine):
    with Tpm(machine.line(), SystemEntropy()) as opened:
        yield opened


def quoted(tpm, ak, pcrs=PCRS, binding=BINDING):
    made = tpm.quote(ak, pcrs, binding)
    return made, tpm.pcr_read(pcrs)


def verified(ak, made, values, **asked):
    asked = quote.Asked(**{"binding": BINDING, "pcrs": PCRS, **asked})
    return quote.verify(ak.public, made.attest, made.signature, values, asked)


def refused(reason, *arguments, **asked):
    with pytest.raises(Rejected) as caught:
        verified(*arguments, **asked)
    assert caught.value.reason == reason


def naive(ak, made, values, binding=BINDING):
    """Signature, magic, nonce, and a hash over the values in the order of the indices that are claimed: no more."""
    said = attest.parse(made.attest)
    attest.verify(ak.public, made.attest, attest.parse_signature(made.signature))
    assert said.extra == binding
    assert said.digest == policy.pcr_digest(values)


def test_an_honest_quote_holds(tpm):
    with tpm.primary(ENDORSEMENT, public.ak_ecc()) as ak:
        made, values = quoted(tpm, ak)
        found = verified(ak, made, values)
        assert found.home
        assert found.clock.resets >= 1


def test_an_honest_quote_of_a_key_for_another_hash_holds(tpm):
    """The digest over the registers is by the hash of the key that signs, not by the bank's."""
    template = public.ak_ecc().replace(u16(Alg.ECDSA) + u16(Alg.SHA256), u16(Alg.ECDSA) + u16(Alg.SHA384))
    with tpm.primary(ENDORSEMENT, template) as ak:
        made, values = quoted(tpm, ak)
        assert verified(ak, made, values).home


def test_selection_substitution(tpm):
    """Root extends the good digests of PCR 4 into PCR 13, quotes 0, 7 and that one, and claims the values to be of 0, 4 and 7."""
    good = secrets.token_bytes(32)
    tpm.pcr_extend(4, secrets.token_bytes(32))
    tpm.pcr_extend(13, good)
    with tpm.primary(ENDORSEMENT, public.ak_ecc()) as ak:
        made, values = quoted(tpm, ak, (0, 7, 13))
        claimed = {0: values[0], 4: values[7], 7: values[13]}  # 7 was untouched, as 4 is claimed to be
        naive(ak, made, claimed)
        refused("pcr_select", ak, made, claimed)


def test_reset_and_replay(machine, tpm):
    """The TPM is reset and good digests are extended again: the registers are perfect, the count of resets is not."""
    good = secrets.token_bytes(32)
    tpm.pcr_extend(4, good)
    with tpm.primary(ENDORSEMENT, public.ak_ecc()) as ak:
        made, values = quoted(tpm, ak)
        before = verified(ak, made, values).clock
    tpm.close()
    machine.kill()
    machine.start()
    with Tpm(machine.line(), SystemEntropy()) as again:
        again.pcr_extend(4, good)
        with again.primary(ENDORSEMENT, public.ak_ecc()) as ak:
            made, same = quoted(again, ak)
            assert same == values
            verified(ak, made, same)
            refused("reset", ak, made, same, before=before)


def test_restored_snapshot(machine, tpm, tmp_path):
    """An emulator's state is put back: everything in it agrees, and only who remembers sees it."""
    with tpm.primary(ENDORSEMENT, public.ak_ecc()) as ak:
        quoted(tpm, ak)
    tpm.close()
    machine.kill()
    shutil.copytree(tmp_path / "tpm", tmp_path / "copy", ignore=shutil.ignore_patterns("s"))
    for _ in range(2):
        machine.start()
        with Tpm(machine.line(), SystemEntropy()) as later, later.primary(ENDORSEMENT, public.ak_ecc()) as ak:
            made, values = quoted(later, ak)
            before = verified(ak, made, values).clock
        machine.kill()
    old = Emulator(tmp_path / "copy")
    old.start()
    with Tpm(old.line(), SystemEntropy()) as past, past.primary(ENDORSEMENT, public.ak_ecc()) as ak:
        made, values = quoted(past, ak)
        refused("clock_rollback", ak, made, values, before=before)
    old.kill()


def test_forged_attestation_key(tpm):
    """The attestation key is not bound to the endorsement key. A key made in software, with perfect attributes in a public area of its own: its quotes verify, its credential opens nowhere."""
    private = ec.generate_private_key(ec.SECP256R1())
    template = public.ak_ecc()
    forged = public.parse(template[: -(2 + 32) * 2] + public.ecc_unique(private.public_key()))
    with tpm.primary(ENDORSEMENT, public.ak_ecc()) as real, tpm.primary(ENDORSEMENT, public.ek_ecc()) as ek:
        signer = public.qualified(forged, hierarchy=Handle.ENDORSEMENT)
        values = {pcr: bytes(32) for pcr in PCRS}
        clock = bytes(8) + u32(1) + u32(0) + b"\x01" + bytes(8)
        body = policy.selection(PCRS) + sized(policy.pcr_digest(values))
        attest = u32(MAGIC) + u16(Tag.ATTEST_QUOTE) + sized(signer) + sized(BINDING) + clock + body
        r, s = decode_dss_signature(private.sign(attest, ec.ECDSA(hashes.SHA256())))
        signature = u16(Alg.ECDSA) + u16(Alg.SHA256) + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))
        quote.verify(forged, attest, signature, values, quote.Asked(binding=BINDING, pcrs=PCRS))
        secret = secrets.token_bytes(32)
        blob, sealed = outside.make_credential(ek.public, forged.name, secret, secrets.token_bytes(32), scalar())
        with pytest.raises(TpmError):
            tpm.activate(real, ek, ek, blob, sealed)


def test_owner_hierarchy_attestation_key(tpm):
    """In the owner's hierarchy a TPM shows obfuscated counts, and no reset could be told."""
    with tpm.primary(OWNER, public.ak_ecc()) as ak:
        made, values = quoted(tpm, ak)
        refused("ak_hierarchy", ak, made, values)
        found = verified(ak, made, values, home=False)
        assert not found.home


def test_cuckoo_relay(machine, tmp_path):
    """Another machine's good TPM answers for this one: bound to its own node, or to nothing that was asked."""
    other = Emulator(tmp_path / "other")
    other.start()
    with Tpm(other.line(), SystemEntropy()) as theirs, theirs.primary(ENDORSEMENT, public.ak_ecc()) as ak:
        made, values = quoted(theirs, ak, binding=b"n" * 32)
        refused("nonce", ak, made, values)  # made for the other node's name
        made, values = quoted(theirs, ak)
        naive(ak, made, values)  # some key under some endorsement key, and the right nonce
        verified(ak, made, values)  # so the row must tell: an attestation key is one node's, for good
        with Tpm(machine.line(), SystemEntropy()) as ours, ours.primary(ENDORSEMENT, public.ak_ecc()) as own:
            assert own.public.name != ak.public.name
            with pytest.raises(Rejected, match="signature"):
                verified(own, made, values)
    other.kill()


def test_weak_selection_sha1_bank_and_sha1_signature(machine):
    """A debug register anybody resets, a bank that can be collided, a signature over SHA-1: fine to who only checks signatures."""
    with Tpm(machine.line(), SystemEntropy()) as tpm, tpm.primary(ENDORSEMENT, public.ak_ecc()) as ak:
        made, values = quoted(tpm, ak, (16,))
        naive(ak, made, values)
        refused("pcr_select", ak, made, values)
        made, values = tpm.quote(ak, PCRS, BINDING, Alg.SHA1), tpm.pcr_read(PCRS, Alg.SHA1)
        naive(ak, made, values)
        refused("pcr_select", ak, made, values)
        made, values = quoted(tpm, ak)
        over_sha1 = made.signature[:2] + u16(Alg.SHA1) + made.signature[4:]
        refused("sig_alg", ak, msgspec.structs.replace(made, signature=over_sha1), values)
    weak = public.ak_ecc().replace(u16(Alg.ECDSA) + u16(Alg.SHA256), u16(Alg.ECDSA) + u16(Alg.SHA1))
    with Tpm(machine.line(), SystemEntropy()) as tpm, tpm.primary(ENDORSEMENT, weak) as ak:
        made, values = quoted(tpm, ak)
        refused("ak_attrs", ak, made, values)


def test_a_nonce_in_another_encoding_or_size(tpm):
    """A verifier that tries several encodings of its nonce takes quotes that were made for other questions."""
    encodings = [base64.b64encode(BINDING), BINDING.hex().encode(), BINDING[:31], BINDING + b"\0", b""]
    with tpm.primary(ENDORSEMENT, public.ak_ecc()) as ak:
        for other in encodings:
            made, values = quoted(tpm, ak, binding=other)
            naive(ak, made, values, binding=other)
            refused("nonce", ak, made, values)


def test_a_key_that_signs_anything_is_no_attestation_key(tpm):
    free = bytearray(public.ak_ecc())
    attributes = int.from_bytes(free[4:8], "big") & ~(1 << 16)
    free[4:8] = u32(attributes)
    with tpm.primary(ENDORSEMENT, bytes(free)) as ak:
        made, values = quoted(tpm, ak)
        refused("ak_attrs", ak, made, values)


def test_bus_sniffing_sees_no_secret_and_a_flipped_bit_is_noticed(machine):
    """A tap between us and the chip: what is sealed and unsealed does not appear, what is changed is refused."""
    secret = secrets.token_bytes(32)

    class Flipping(Recorder):
        flip = False

        def transact(self, command):
            answer = super().transact(command)
            if self.flip and len(answer) > 60:
                changed = bytearray(answer)
                changed[18] ^= 1
                return bytes(changed)
            return answer

    tap = Flipping(machine.line())
    with Tpm(tap, SystemEntropy()) as tpm, tpm.primary(OWNER, public.srk_ecc()) as srk:
        digest = policy.pcr(policy.EMPTY, tpm.pcr_read([7]))
        with tpm.session(srk) as session:
            sealed = tpm.seal(srk, session, secret, digest)
            with tpm.loaded(srk, sealed, session) as item:
                for flip in (False, True):
                    with tpm.session(srk, kind=SessionKind.POLICY) as proof:
                        tpm.policy_pcr(proof, [7])
                        tap.flip = flip
                        if flip:
                            with pytest.raises(TpmError, match="changed on its way"):
                                tpm.unseal(item, proof)
                        else:
                            assert tpm.unseal(item, proof) == secret
                        tap.flip = False
        assert tap.exchanges
        for command, answer in tap.exchanges:
            assert secret not in command
            assert secret not in answer
        template = sized(sized(b"") + sized(secret)) + sized(public.sealed_object(b"", with_auth=False))
        tpm.engine.run(Command.CREATE, [srk.entity], template + sized(b"") + u32(0), [Password()])
        assert secret in tap.exchanges[-1][0], "without a session that encrypts, the tap reads everything"


def test_sealed_data_after_another_boot_a_wrong_pin_and_a_cleared_tpm(tpm):
    with tpm.primary(OWNER, public.srk_ecc()) as srk:
        digest = policy.auth_value(policy.pcr(policy.EMPTY, tpm.pcr_read([7])))

        def opened(pin):
            with (
                tpm.session(srk) as session,
                tpm.loaded(srk, sealed, session, pin) as item,
                tpm.session(srk, kind=SessionKind.POLICY) as proof,
            ):
                tpm.policy_pcr(proof, [7])
                tpm.policy_auth_value(proof)
                return tpm.unseal(item, proof)

        with tpm.session(srk) as session:
            sealed = tpm.seal(srk, session, b"key", digest, b"1234")
        assert opened(b"1234") == b"key"
        with pytest.raises(TpmError, match="wrong auth value"):
            opened(b"4321")
        tpm.pcr_extend(7, bytes(32))
        with pytest.raises(TpmError, match="policy does not hold"):
            opened(b"1234")
    storage.clear(tpm)
    with tpm.primary(OWNER, public.srk_ecc()) as srk, pytest.raises(TpmError, match="not made by this TPM"):
        opened(b"1234")


def test_every_single_bit_of_a_signed_quote_counts(tpm):
    with tpm.primary(ENDORSEMENT, public.ak_ecc()) as ak:
        made, values = quoted(tpm, ak)
        for place in range(len(made.attest) * 8):
            changed = bytearray(made.attest)
            changed[place // 8] ^= 1 << place % 8
            with pytest.raises(Rejected):
                verified(ak, msgspec.structs.replace(made, attest=bytes(changed)), values)
