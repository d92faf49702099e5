"""An interpreter that guests under other uids can reach, wherever the one that runs the tests lies."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import propolis

SYSTEM = Path("/usr/bin/python3")


def hidden(folder):
    """Whether an ordinary user cannot get at a folder."""
    return any(not parent.stat().st_mode & 0o001 for parent in [folder, *folder.parents])


def open_folder():
    """A folder that any user can reach; pytest closes its own to others each time it starts, also under a run beside ours."""
    folder = Path(tempfile.mkdtemp(prefix="propolis-test-"))
    os.chmod(folder, 0o755)
    return folder


@pytest.fixture
def open_path():
    """A temporary folder that any user can reach."""
    folder = open_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def python():
    """An interpreter any user can reach, with this package on its path."""
    if os.geteuid() != 0 or not (hidden(Path(sys.base_prefix)) or hidden(Path(sys.prefix))):
        yield sys.executable
        return
    source = Path(propolis.__file__).parents[1]
    packages = Path(__import__("msgspec").__file__).parents[1]
    word = "import sys; print(sys.version_info[:2])"
    if not SYSTEM.exists() or subprocess.run(
        [SYSTEM, "-c", word], capture_output=True, text=True
    ).stdout.strip() != str(sys.version_info[:2]):
        pytest.skip("the system has no Python of this version that an ordinary user could run")
    for folder in (source, packages):
        if hidden(folder):
            pytest.skip(f"an ordinary user cannot reach {folder}")
    home = open_folder()
    subprocess.run([SYSTEM, "-m", "venv", "--without-pip", str(home)], check=True)
    site = next(home.glob("lib/python*/site-packages"))
    (site / "propolis.pth").write_text(f"{source}\n{packages}\n")
    yield str(home / "bin" / "python")
    shutil.rmtree(home)
