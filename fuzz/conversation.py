"""A recorded conversation of our client with an emulated TPM, played again with one answer spoilt.

Entropy is handed in, so the client says the same to the bit until the spoilt answer; afterwards it gets what was recorded, in
order. `python -m fuzz.conversation` records it anew (needs swtpm).
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from propolis.adapters.tpm import keys, storage
from propolis.adapters.tpm.client import ENDORSEMENT, OWNER, Tpm
from propolis.crypto.tpm import outside, policy, public
from propolis.crypto.tpm.ids import Alg, Compare, SessionKind
from propolis.ports.tpm import TpmLine
from propolis.terms.errors import TpmError

FILE = Path(__file__).parent / "conversation.json"
COUNTER = 0x01800100


class Same:
    """Entropy that is the same each time."""

    def __init__(self) -> None:
        self._drawn = 0

    def draw(self, size: int) -> bytes:
        """Return bytes that nobody had before."""
        self._drawn += 1
        return self._drawn.to_bytes(4, "big") * (size // 4) + b"x" * (size % 4)


def held(tpm: Tpm) -> None:
    """Say everything that a client ever says."""
    tpm.random(16)
    keys.maker(tpm)
    keys.endorsement(tpm)
    tpm.handles(0x81000000)
    storage.clock(tpm)
    values = tpm.pcr_read((0, 4, 7))
    tpm.pcr_extend(16, bytes(32))
    with tpm.primary(ENDORSEMENT, public.ek_ecc()) as ek, tpm.primary(ENDORSEMENT, public.ak_ecc()) as ak:
        tpm.quote(ak, (0, 4, 7), b"nonce")
        blob, secret = outside.make_credential(ek.public, ak.public.name, b"secret" * 4, b"s" * 32, 77)
        tpm.activate(ak, ek, ek, blob, secret)
    with tpm.primary(OWNER, public.srk_ecc()) as srk:
        digest = policy.pcr(policy.EMPTY, {7: values[7]})
        with tpm.session(srk) as session:
            counter = storage.define_counter(tpm, COUNTER, session)
            sealed = tpm.seal(srk, session, b"sealed", digest)
            with (
                tpm.loaded(srk, sealed, session) as item,
                tpm.session(srk, kind=SessionKind.POLICY) as proof,
            ):
                tpm.policy_pcr(proof, (7,))
                tpm.policy_digest(proof)
                tpm.unseal(item, proof)
            sensitive, unique = outside.sealed_data(b"data", b"", b"u" * 32)
            area = public.imported_object(digest, unique)
            duplicate, seed = outside.wrap(srk.public, area, sensitive, b"w" * 32, 99)
            tpm.import_wrapped(srk, session, area, duplicate, seed)
            with tpm.session(srk, kind=SessionKind.POLICY) as proof:
                tpm.policy_nv(proof, counter, (2**40).to_bytes(8, "big"), Compare.UNSIGNED_LE)
        storage.count(tpm, counter)
        storage.undefine(tpm, counter)
        tpm.pcr_read((1, 2), Alg.SHA256)


class Spoilt:
    """A line that gives the recorded answers in order, but for one."""

    emulated = True

    def __init__(self, answers: Sequence[bytes], place: int, answer: bytes) -> None:
        self._answers, self._place, self._answer = answers, place, answer
        self._at = -1

    def transact(self, command: bytes) -> bytes:
        """Answer."""
        self._at += 1
        if self._at == self._place:
            return self._answer
        if self._at >= len(self._answers):
            raise TpmError("the recording ended")
        return self._answers[self._at]

    def close(self) -> None:
        """Nothing to close."""


def answers() -> list[bytes]:
    """Return what the emulator answered, in order."""
    return [bytes.fromhex(answer) for answer in json.loads(FILE.read_text())]


def samples() -> list[bytes]:
    """Return food: two bytes that name an answer, then the answer."""
    return [place.to_bytes(2, "big") + answer for place, answer in enumerate(answers())]


_ANSWERS: list[bytes] = []


def spoilt(data: bytes) -> None:
    """Hold the conversation with the answer in `data`, its length put right where it is a whole head. Raises TpmError."""
    if not _ANSWERS:
        _ANSWERS.extend(answers())
    place, answer = int.from_bytes(data[:2], "big") % len(_ANSWERS), data[2:]
    if len(answer) >= 10 and data[-1:] != b"\xff":  # most must come past the check of the length
        answer = answer[:2] + len(answer).to_bytes(4, "big") + answer[6:]
    with Tpm(Spoilt(_ANSWERS, place, answer), Same()) as tpm:
        held(tpm)


def record() -> None:
    """Hold it with swtpm and keep what it answers."""
    from propolis.adapters.tpm.emulator import Emulator
    from propolis.adapters.tpm.recorded import Recorder

    with tempfile.TemporaryDirectory() as folder:
        emulator = Emulator(Path(folder) / "tpm")
        emulator.start()
        try:
            line: TpmLine = Recorder(emulator.line())
            with Tpm(line, Same()) as tpm:
                held(tpm)
        finally:
            emulator.kill()
    kept = [answer.hex() for _, answer in line.exchanges]  # type: ignore[attr-defined]
    FILE.write_text(json.dumps(kept, indent=0) + "\n")
    sys.stdout.write(f"{len(kept)} answers\n")


if __name__ == "__main__":
    record()
