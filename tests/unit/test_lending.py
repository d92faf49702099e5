"""What a lender accepts is what its report tells, and only what it said by name."""

import sys

import pytest

from propolis.adapters.executor.bare import BareExecutor
from propolis.node import __main__ as command
from propolis.node.assembly import Node, sandboxed
from propolis.runtime import config
from propolis.terms.capability import Rung


def lender(tmp_path, monkeypatch, *words):
    """Return the node that the command line would run."""
    config.write(tmp_path / "fleet.json", config.FleetFile(fleet="ab" * 32, addresses=("127.0.0.1:1",)))
    found = []

    async def serve(node, say):
        found.append(node)

    monkeypatch.setattr(sys, "argv", ["propolis.node", "--home", str(tmp_path), *words])
    monkeypatch.setattr(command, "_serve", serve)
    assert command.main() == 0
    return found[0]


@pytest.mark.parametrize(
    ("words", "rung"), [((), Rung.NAMESPACES), ((command.FUNCTIONS,), Rung.FLAT), ((command.BARE,), Rung.BARE)]
)
def test_the_weakest_rung_for_strangers_code_is_what_the_lender_said(tmp_path, monkeypatch, words, rung):
    node = lender(tmp_path, monkeypatch, *words)
    assert node._functions_from is rung
    assert isinstance(node._executor, BareExecutor) is (rung is Rung.BARE)


def test_what_was_accepted_is_kept_except_running_bare(tmp_path, monkeypatch):
    lender(tmp_path, monkeypatch, command.BARE)
    assert lender(tmp_path, monkeypatch)._functions_from is Rung.NAMESPACES
    lender(tmp_path, monkeypatch, command.FUNCTIONS, "--region", "eu", "--cost", "0")
    assert lender(tmp_path, monkeypatch)._functions_from is Rung.FLAT
    kept = config.read(tmp_path / "node.json", config.NodeFile)
    assert (kept.region, kept.cost) == ("eu", 0.0)


def test_settings_alone_never_lend_bare(tmp_path):
    config.write(tmp_path / "fleet.json", config.FleetFile(fleet="ab" * 32, addresses=("127.0.0.1:1",)))
    settings = config.NodeFile(functions_without_namespaces=True)
    assert Node(tmp_path, sandboxed(settings), settings)._functions_from is Rung.FLAT


@pytest.mark.parametrize("words", [("--region", "EU FR"), ("--cost", "-1"), ("--cost", "nan"), ("--region", "x" * 41)])
def test_an_offer_that_cannot_be_told_is_refused_at_once(tmp_path, monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["propolis.node", "--home", str(tmp_path), *words])
    assert command.main() == 5
    assert words[0].removeprefix("--") in capsys.readouterr().err


def test_which_tpm_is_shown_is_what_the_lender_said_and_is_kept_until_it_says_otherwise(tmp_path, monkeypatch):
    def settings(*words):
        return lender(tmp_path, monkeypatch, *words)._settings

    assert (settings().tpm, settings().emulated_tpm) == (True, "")
    assert settings("--no-tpm").tpm is False
    assert settings("--name", "n").tpm is False
    assert settings("--tpm").tpm is True
    monkeypatch.chdir(tmp_path)
    settings("--no-tpm")
    rehearsing = settings(command.EMULATED, "socket")
    assert (rehearsing.tpm, rehearsing.emulated_tpm) == (True, str(tmp_path / "socket"))
    assert settings().emulated_tpm == str(tmp_path / "socket")
    assert settings("--tpm").emulated_tpm == ""


def test_no_tpm_and_an_emulated_one_exclude_each_other(tmp_path, monkeypatch):
    with pytest.raises(SystemExit):
        lender(tmp_path, monkeypatch, "--no-tpm", command.EMULATED, "socket")
