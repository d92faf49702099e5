"""Every key home passes the same suite; the one on disk keeps its key over restarts, and from other users."""

import itertools
import os
import secrets
import stat

import pytest

from propolis.adapters.keyhome.file import FileKeyHome
from propolis.adapters.keyhome.memory import MemoryKeyHome
from propolis.terms.errors import ConfigError
from propolis.testing import keyhome as suite


@pytest.fixture(params=["memory", "file"])
def open_home(request, tmp_path):
    if request.param == "memory":
        return lambda: MemoryKeyHome(secrets.token_bytes(32))
    names = itertools.count()
    return lambda: FileKeyHome(tmp_path / str(next(names)) / "identity")


@pytest.mark.parametrize("case", suite.SUITE, ids=lambda case: case.__name__)
def test_keyhome(case, open_home):
    case(open_home)


def test_a_restart_keeps_the_identity_and_nobody_else_reads_it(tmp_path):
    """docs/specs/identity.md, step 4."""
    path = tmp_path / "identity"
    before = os.umask(0)
    try:
        first = FileKeyHome(path).identity
    finally:
        os.umask(before)
    assert FileKeyHome(path).identity == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["identity"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_could_read_is_refused_with_the_cure(tmp_path, mode):
    path = tmp_path / "identity"
    FileKeyHome(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        FileKeyHome(path)


def test_a_file_that_is_no_key_is_named_and_left_as_it_is(tmp_path):
    path = tmp_path / "identity"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not an identity key"):
        FileKeyHome(path)
    assert path.read_bytes() == b"short"
