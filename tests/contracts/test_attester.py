"""Attesters pass one suite: a TPM with an RSA endorsement certificate, and one as it comes from nowhere."""

import shutil

import pytest

from propolis.adapters.tpm.attester import TpmAttester
from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.tpm.software import SoftwareAttester
from propolis.adapters.world.system import SystemEntropy
from propolis.testing import attester as suite

needs_swtpm = pytest.mark.skipif(
    shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm swtpm-tools"
)


@pytest.fixture(scope="module", params=["manufactured", "bare"])
def emulator(request, tmp_path_factory):
    home = tmp_path_factory.mktemp("tpm")
    made = Emulator(home / "state")
    if request.param == "manufactured":
        made.manufacture(home / "root")
    made.start()
    yield made
    made.kill()


@pytest.mark.parametrize("case", suite.SUITE, ids=lambda case: case.__name__)
async def test_the_stand_in(case):
    async def make():
        return SoftwareAttester(b"one machine")

    await case(make)


@needs_swtpm
@pytest.mark.parametrize("case", suite.SUITE, ids=lambda case: case.__name__)
async def test_attester(case, emulator, tmp_path):
    async def make():
        return TpmAttester(emulator.line, SystemEntropy(), event_log=tmp_path / "no", ima_list=tmp_path / "no")

    await case(make)


@needs_swtpm
async def test_a_manufactured_one_shows_its_certificate_and_that_it_is_emulated(emulator, request):
    identity = await TpmAttester(emulator.line, SystemEntropy()).identity()
    assert identity.emulated
    assert bool(identity.certificate) == ("[manufactured]" in request.node.name)
