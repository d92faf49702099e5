"""Every line to a TPM passes the same suite: the emulator's for real, Windows' calls over the emulator, the recorded one."""

import ctypes
import shutil

import pytest

from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.tpm.lines import DeviceLine, SocketLine
from propolis.adapters.tpm.recorded import RecordedLine, Recorder
from propolis.adapters.tpm.tbs import TbsLine
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
