"""The import contracts name everything they are about: a new family or stand-in cannot be forgotten in them."""

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "propolis"


def contract(name):
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser[f"importlinter:contract:{name}"]


def test_every_protocol_family_stands_alone_by_contract():
    named = set(contract("protocol-families")["modules"].split())
    folders = {f"propolis.protocols.{p.name}" for p in (SOURCE / "protocols").iterdir() if (p / "__init__.py").exists()}
    assert named == folders


def test_every_stand_in_is_out_of_reach_by_contract():
    forbidden = set(contract("stand-ins")["forbidden_modules"].split())
    modules = [
        path
        for path in (SOURCE / "adapters").rglob("*.py")
        if path.name != "__init__.py" and "stand-in" in path.read_text().split('"""')[1]
    ]
    names = {".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in modules}
    assert names == forbidden


def test_nobody_waits_by_a_call_that_swallows_a_cancel():
    """wait_for of Python 3.11 returns a result that comes together with a cancel, and the cancel is lost: what cancelled
    hangs for ever. A fetch from two holders hung so. asyncio.timeout does not."""
    ours = [path for path in SOURCE.rglob("*.py") if "testing" not in path.parts]
    assert [path.name for path in ours if "asyncio.wait_for(" in path.read_text()] == []
