"""A local fleet: one orchestrator and several node processes on this machine, for trying things out. All in one home."""

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import msgspec

from propolis.messages.rows import NodeRow
from propolis.node.system import supported
from propolis.owner import keeper
from propolis.runtime import config
from propolis.sdk import policies
from propolis.sdk.fleet import Fleet
from propolis.sdk.rehearsal import Rehearsal
from propolis.terms.errors import ConfigError

START_SECONDS = 30.0
STOP_SECONDS = 5.0
PROVE_SECONDS = 10.0


class NodeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one local node offers."""

    name: str
    slots: int = 1
    memory_mb: int = 1024


def varied(count: int) -> list[NodeLimits]:
    """Return limits as different as machines are: one to two slots, 768 to 2048 MB."""
    memories = (1024, 2048, 768, 1536)
    return [
        NodeLimits(name=f"node-{n + 1}", slots=1 + (n % 4 == 1), memory_mb=memories[n % len(memories)])
        for n in range(count)
    ]


class LocalFleet:
    """Processes of a local fleet. Use as a context, or `start` and `stop`."""

    def __init__(
        self,
        home: Path,
        nodes: Sequence[NodeLimits],
        listen: Sequence[str] = (),
        *,
        lend: Sequence[str] = (),
        rehearsal: Rehearsal | None = None,
    ) -> None:
        """`listen`: where other computers can reach the orchestrator; empty: loopback, or as before. `lend`: nodes' options.

        `rehearsal`: emulated TPMs for the nodes.
        """
        self.rehearsal = rehearsal
        self.home = home
        self.listen = tuple(listen)
        self.lend = tuple(lend)
        self.limits = list(nodes)
        self.orchestrator: subprocess.Popen[str] | None = None
        self.nodes: dict[str, subprocess.Popen[str]] = {}
        self._said: dict[str, int] = {}  # where in each log the words of this start begin

    def __enter__(self) -> "LocalFleet":
        """Start everything."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self.stop()

    def start(self) -> None:
        """Start, or start again with the same identities. Raises Unsupported, ConfigError with what a process said."""
        if self.limits:
            supported()
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"{self.home} cannot be made: {error.strerror}", hint="choose another one: --home"
            ) from error
        joined = {limit.name: (self.home / limit.name / "fleet.json").exists() for limit in self.limits}
        owner = not (self.home / "owner" / "fleet.json").exists()
        missing = [name for name, known in joined.items() if not known]
        try:
            ready = self.start_orchestrator(invite_owner=owner)
            self._tell_members(ready)
            if owner:
                Fleet.join(ready["owner_invitation"], self.home)
            invitations = dict(zip(missing, self._invite(len(missing)), strict=True))
            for limit in self.limits:
                self._launch_node(limit, invitations.get(limit.name, ""))
            for limit in self.limits:
                self._ready(self.nodes[limit.name], limit.name)
        except BaseException:
            self.stop()
            raise
        self._note_pids()

    def rehearse(self) -> None:
        """Accept emulated TPMs: as this fleet's operator, by a policy that says so, and as its owner; wait for proofs.

        Raises what setting a policy does.
        """
        assert self.rehearsal is not None
        policies.rehearse(self.home, accept=True)
        text = self.rehearsal.policy()
        with Fleet(self.home) as fleet:
            if fleet.policy_text() != text:
                fleet.set_policy(text)
            deadline = time.monotonic() + PROVE_SECONDS
            while time.monotonic() < deadline and any(_unjudged(row) for row in fleet.nodes()):
                time.sleep(0.05)

    def _invite(self, count: int) -> list[str]:
        """Return invitations for nodes, from the home's owner: it is the fleet's operator."""
        if not count:
            return []
        with Fleet(self.home) as fleet:
            return [fleet.invite("node") for _ in range(count)]

    def start_orchestrator(self, *, invite_owner: bool = False) -> dict[str, Any]:
        """Start the orchestrator process; returns its ready line."""
        words = [
            "propolis.orchestrator",
            "--home",
            str(self.home / "orchestrator"),
        ]
        words += [word for address in self.listen for word in ("--listen", address)]
        self.orchestrator = self._launch([*words, *(["--invite-owner"] if invite_owner else [])], "orchestrator")
        return self._ready(self.orchestrator, "orchestrator")

    def _tell_members(self, ready: Mapping[str, Any]) -> None:
        """The orchestrator may listen elsewhere than last time: members of this home look for it there."""
        for name in ("owner", *(limit.name for limit in self.limits)):
            path = self.home / name / "fleet.json"
            known = config.read(path, config.FleetFile)
            if known is not None and known.fleet == ready["fleet"]:
                config.write(path, msgspec.structs.replace(known, addresses=tuple(ready["addresses"])))

    def start_node(self, limit: NodeLimits, invitation: str = "") -> None:
        """Start one node and wait until it is inside."""
        self._launch_node(limit, invitation)
        self._ready(self.nodes[limit.name], limit.name)

    def _launch_node(self, limit: NodeLimits, invitation: str) -> None:
        self._equip(limit.name)
        words = ["propolis.node", "--home", str(self.home / limit.name), "--name", limit.name]
        words += ["--slots", str(limit.slots), "--memory-mb", str(limit.memory_mb), *self.lend]
        self.nodes[limit.name] = self._launch(words, limit.name, {"PROPOLIS_INVITATION": invitation})

    def _equip(self, name: str) -> None:
        """Write down which emulated TPM a node rehearses with; of an earlier rehearsal nothing stays."""
        socket = self.rehearsal.equip(name) if self.rehearsal is not None else None
        path = self.home / name / "node.json"
        known = config.read(path, config.NodeFile) or config.NodeFile()
        if socket is not None or known.emulated_tpm:
            config.write(path, msgspec.structs.replace(known, emulated_tpm=str(socket or "")))

    def _launch(
        self, words: list[str], name: str, more: Mapping[str, str] = MappingProxyType({})
    ) -> "subprocess.Popen[str]":
        (self.home / "logs").mkdir(exist_ok=True, mode=0o700)
        descriptor = os.open(self.home / "logs" / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            self._said[name] = log.tell()
            return subprocess.Popen(
                [sys.executable, "-m", *words],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
                env={
                    **os.environ,
                    "OPENBLAS_NUM_THREADS": "1",
                    "OMP_NUM_THREADS": "1",
                    "ORT_DISABLE_TELEMETRY": "1",
                    **more,
                },
            )

    def _ready(self, process: "subprocess.Popen[str]", name: str) -> dict[str, Any]:
        assert process.stdout is not None
        line = _first_line(process.stdout, START_SECONDS)
        if not line:
            raise self._not_started(name)
        found: dict[str, Any] = json.loads(line)
        return found

    def _not_started(self, name: str) -> ConfigError:
        """Return what the process said this time, as its own error says it."""
        log = self.home / "logs" / f"{name}.log"
        with log.open("rb") as file:
            file.seek(self._said.get(name, 0))
            said = file.read().decode("utf-8", "replace").strip()
        found = re.search(r"^error [a-z.-]+: (.*?)(?:\n  → (.*))?$", said, re.MULTILINE)
        if found:
            return ConfigError(f"{name} did not start: {found[1]}", hint=found[2] or f"{log} has all it said")
        return ConfigError(
            f"{name} did not start: {' / '.join(said.splitlines()[-4:]) or 'no word'}", hint=f"see {log}"
        )

    def kill(self, name: str) -> None:
        """Kill a node, or "orchestrator", with signal 9."""
        process = self.orchestrator if name == "orchestrator" else self.nodes.pop(name)
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """End every process, politely first, and the keeper of our owner's jobs with them."""
        keeper.end(self.home / "owner")
        processes = [*self.nodes.values(), *([self.orchestrator] if self.orchestrator else [])]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self.rehearsal is not None:
            self.rehearsal.stop()
        self.nodes.clear()
        self.orchestrator = None
        (self.home / "pids.json").unlink(missing_ok=True)

    def _note_pids(self) -> None:
        pids = {name: process.pid for name, process in self.nodes.items()}
        if self.orchestrator is not None:
            pids["orchestrator"] = self.orchestrator.pid
        if self.rehearsal is not None:
            pids |= self.rehearsal.pids()
        descriptor = os.open(self.home / "pids.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(pids, file)


def _unjudged(row: NodeRow) -> bool:
    """Return whether a node that can show something was not judged by the policy of now yet."""
    return bool(row.report.shows) and not row.proven and (not row.unproven or row.unproven.startswith("policy: "))


def _first_line(pipe: IO[str], seconds: float) -> str:
    """Return a process's first line, "" when it says none in time. By a thread: not every system can wait on a pipe."""
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=lambda: said.put(pipe.readline()), daemon=True).start()
    try:
        return said.get(timeout=seconds)
    except queue.Empty:
        return ""
