"""Every line to a TPM passes the same suite: the emulator's for real, Windows' calls over the emulator, the recorded one."""

import ctypes
import shutil

import pytest

from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.tpm.engine import Engine
from propolis.adapters.tpm.lines import DeviceLine, SocketLine
from propolis.adapters.tpm.recorded import RecordedLine, Recorder
from propolis.adapters.tpm.tbs import TbsLine
from propolis.adapters.world.system import SystemEntropy
from propolis.crypto.tpm.ids import Command
from propolis.terms.errors import TpmError, TpmMissing
from propolis.testing import tpm as suite

needs_swtpm = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm")


class Tbs:
    """tbs.dll's calls, answered by another line."""

    def __init__(self, line):
        self.line, self.status = line, 0

    def Tbsi_Context_Create(self, params, context):
        assert (params._obj.version, params._obj.flags) == (2, 4)
        return self.status

    def Tbsip_Submit_Command(self, context, locality, priority, command, size, answer, answer_size):
        assert (locality, priority, size) == (0, 200, len(command))
        data = self.line.transact(command)
        ctypes.memmove(answer, data, len(data))
        answer_size._obj.value = len(data)
        return self.status

    def Tbsip_Context_Close(self, context):
        self.line.close()
        return 0


@pytest.fixture
def emulator(tmp_path):
    made = Emulator(tmp_path / "tpm")
    made.start()
    yield made
    made.kill()


@needs_swtpm
@pytest.mark.parametrize("kind", ["socket", "tbs", "recorded"])
@pytest.mark.parametrize("case", suite.SUITE, ids=lambda case: case.__name__)
def test_line(case, kind, emulator):
    if kind == "recorded":
        recorder = None

        def record():
            nonlocal recorder
            recorder = Recorder(emulator.line())
            return recorder

        case(record)
        case(lambda: RecordedLine(recorder.exchanges))
    else:
        case(emulator.line if kind == "socket" else lambda: TbsLine(Tbs(emulator.line())))


@needs_swtpm
def test_an_emulator_that_dies_in_between_is_a_typed_error(emulator):
    line = emulator.line()
    assert line.emulated
    emulator.kill()
    with pytest.raises(TpmError, match=r"gone|hung up"):
        line.transact(suite.RANDOM)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(TpmMissing, match=r"no TPM 2\.0"):
        DeviceLine(tmp_path / "tpmrm0")
    with pytest.raises(TpmMissing, match="no emulated TPM"):
        SocketLine(tmp_path / "s")
    with pytest.raises(TpmMissing, match="Windows only"):
        TbsLine()


@pytest.mark.parametrize(
    ("status", "kind"), [(0x8028400F, TpmMissing), (-2144845809, TpmMissing), (0x80280400, TpmError)]
)
def test_windows_says_why(status, kind):
    tbs = Tbs(None)
    tbs.status = status
    with pytest.raises(kind, match="Tbsi_Context_Create"):
        TbsLine(tbs)


def test_a_recording_answers_nothing_else():
    line = RecordedLine([(b"one", b"1")])
    with pytest.raises(TpmError, match="something else"):
        line.transact(b"two")


# -- the engine over a line that answers as it is told


class Scripted:
    """A line with answers for each command code; what was asked is kept."""

    emulated = True

    def __init__(self, answers):
        self.answers, self.asked, self.closed = answers, [], False

    def transact(self, command):
        self.asked.append((int.from_bytes(command[6:10], "big"), command[10:]))
        return self.answers.get(self.asked[-1][0], answer(b""))

    def close(self):
        self.closed = True


def answer(body, *, code=0, length=None):
    return (
        b"\x80\x01" + (len(body) + 10 if length is None else length).to_bytes(4, "big") + code.to_bytes(4, "big") + body
    )


SESSION = (0x02000001).to_bytes(4, "big")


def test_what_was_left_loaded_is_flushed_when_the_line_is_closed():
    line = Scripted({Command.START_AUTH_SESSION: answer(SESSION + b"rest")})
    engine = Engine(line, SystemEntropy())
    engine.run(Command.START_AUTH_SESSION, returns_handle=True)
    engine.close()
    assert line.asked[-1] == (Command.FLUSH_CONTEXT, SESSION)
    assert line.closed


def test_a_line_is_closed_also_where_the_tpm_flushes_nothing():
    line = Scripted({Command.START_AUTH_SESSION: answer(SESSION), Command.FLUSH_CONTEXT: answer(b"", code=0x1C4)})
    engine = Engine(line, SystemEntropy())
    engine.run(Command.START_AUTH_SESSION, returns_handle=True)
    engine.close()
    assert line.closed


@pytest.mark.parametrize(
    "data", [answer(b"x", length=10), answer(b"x", length=12), answer(b"")[:9], answer(bytes(5000))]
)
def test_an_answer_of_another_length_than_it_says_is_a_typed_error(data):
    with pytest.raises(TpmError, match="bytes"):
        Engine(Scripted({Command.GET_RANDOM: data}), SystemEntropy()).run(Command.GET_RANDOM)
