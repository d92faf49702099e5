"""Rows on what a TPM answers, or whoever sits between: every failure has a type, and a code where the chip gave one."""

import pytest
from fuzz import conversation
from fuzz.conversation import Same, Spoilt

from propolis.adapters.tpm import engine
from propolis.adapters.tpm.client import Tpm
from propolis.terms.errors import TpmError, TpmLocked

ANSWERS = conversation.answers()


def error(code):
    return b"\x80\x01" + (10).to_bytes(4, "big") + code.to_bytes(4, "big")


class Says:
    """A line that says one thing, over and over; or nothing: it is gone."""

    emulated = True

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def transact(self, command):
        self.asked += 1
        answer = self.answers[min(self.asked, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        pass


def answered(*answers):
    with Tpm(Says(*answers), Same()) as tpm:
        return tpm.random(4)


RANDOM = b"\x80\x01" + (16).to_bytes(4, "big") + bytes(4) + b"\0\4abcd"


def wrong_mac():
    """The last answer of a session that carries an HMAC, changed in its last byte."""
    place = max(n for n, answer in enumerate(ANSWERS) if answer[:2] == b"\x80\x02" and len(answer) > 60)
    changed = ANSWERS[place][:-1] + bytes((ANSWERS[place][-1] ^ 1,))
    with Tpm(Spoilt(ANSWERS, place, changed), Same()) as tpm:
        conversation.held(tpm)


def honest():
    with Tpm(Spoilt(ANSWERS, -1, b""), Same()) as tpm:
        conversation.held(tpm)


ROWS = [
    ("TPM: honest", honest, None, 0),
    ("TPM: 0x902", lambda: answered(error(0x902)), TpmError, 0x902),
    ("TPM: 0x922 once", lambda: answered(error(0x922), RANDOM), None, 0),
    ("TPM: 0x922 for ever", lambda: answered(error(0x922)), TpmError, 0x922),
    ("TPM: 0x921", lambda: answered(error(0x921)), TpmLocked, 0x921),
    ("TPM: 0x98e", lambda: answered(error(0x98E)), TpmError, 0x98E),
    ("TPM: 0x99d", lambda: answered(error(0x99D)), TpmError, 0x99D),
    ("TPM: device vanishes mid-command", lambda: answered(TpmError("the TPM is gone: No such device")), TpmError, 0),
    ("TPM: response HMAC wrong", wrong_mac, TpmError, 0),
    ("TPM: frame length lie, longer", lambda: answered(RANDOM[:2] + (99).to_bytes(4, "big") + RANDOM[6:]), TpmError, 0),
    ("TPM: frame length lie, shorter", lambda: answered(RANDOM[:2] + (12).to_bytes(4, "big") + RANDOM[6:]), TpmError, 0),
    ("TPM: no answer at all", lambda: answered(b""), TpmError, 0),
    ("TPM: a buffer longer than the answer", lambda: answered(RANDOM[:10] + b"\xff\xff" + RANDOM[12:]), TpmError, 0),
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """A chip that asks to be tried again is waited for; not here."""
    monkeypatch.setattr(engine, "PAUSES", (0.0,) * len(engine.PAUSES))
