"""A fleet as its owner uses it, synchronous: the client runs in a thread of its own.

with Fleet() as fleet:
    print(fleet.map(score, patients, privacy="trusted-lenders"))
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, Unpack

import msgspec
import numpy.typing as npt

from propolis.decisions import privacy
from propolis.decisions.appraisal.policy import Policy
from propolis.messages.membership import Role
from propolis.messages.program import Program
from propolis.messages.rows import JobRow, NodeRow, Verdict
from propolis.owner import keeper
from propolis.owner.client import Client
from propolis.owner.live import Draft
from propolis.owner.sharing import Sharing
from propolis.runtime import config, invitation
from propolis.runtime.enlisting import enlist, take_back
from propolis.sdk import drafting, members, models, policies, source
from propolis.sdk.drafting import Inputs
from propolis.sdk.grantees import Grantee, grantees
from propolis.sdk.job import Job
from propolis.sdk.options import InferOptions, MapOptions
from propolis.sdk.policies import Mandate
from propolis.terms.errors import (
    DataError,
    InvitationRefused,
    PropolisError,
    RequirementUnmet,
    UnknownJob,
)
from propolis.terms.identity import JobId
from propolis.terms.job import Kind, Needs
from propolis.terms.requirement import Requirement

log = logging.getLogger(__name__)

T = TypeVar("T")
Array = npt.NDArray[Any]
INVITED_SECONDS = 7 * 86_400.0
SHORTEST_SECONDS, LONGEST_SECONDS = 1, 3650 * 86_400
SHORTEST_PREFIX = 4  # of a job's id: a slip of a finger must not end somebody's night of work


def _ways_out(job: str, reasons: Iterable[str]) -> str:
    """Return what the owner of a job that nobody may run can do; a traceback shows it with the reasons."""
    keep = f"it waits on for a machine that may; propolis stop {job} ends it"
    if any("nothing here proves" in reason for reason in reasons):
        return (
            f'if you accept that the owner of a machine that runs it could look: privacy="trusted-lenders". Else {keep}'
        )
    return keep


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job runs or waits: its line, each node's verdict, its story; and who got its key, from our own records."""

    job: JobRow
    verdicts: tuple[Verdict, ...]
    events: tuple[str, ...]
    granted: tuple[Grantee, ...] = ()


class Fleet:
    """An owner's connection to its fleet. `home` is the state folder (default $PROPOLIS_HOME or ~/.propolis)."""

    def __init__(self, home: Path | str | None = None, connect_timeout: float = 5.0) -> None:
        """Connect. Raises ConfigError (no fleet here), PeerUnreachable, InvitationRefused."""
        self._home = Path(home) if home is not None else config.default_home()
        self._session = Sharing(self._home / "owner")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="propolis-owner", daemon=True)
        self._thread.start()
        try:
            self._call(self._session.open(connect_timeout))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def join(text: str, home: Path | str | None = None, *, rehearse: bool = False) -> None:
        """Become an owner in a fleet by an invitation; success means the fleet said so, and a no leaves the home as it was.

        `rehearse`: accept what emulated TPMs prove, which is nothing, where the fleet's policy does. It stays accepted.
        Raises InvitationRefused, PeerUnreachable, ConfigError.
        """
        base = Path(home) if home is not None else config.default_home()
        owner = base / "owner"
        enlist(owner, invitation.from_text(text), Role.OWNER, rehearse=rehearse)
        try:
            Fleet(base).close()
        except PropolisError as error:
            take_back(owner, keep_key=not isinstance(error, InvitationRefused))
            raise

    @staticmethod
    def rehearses(home: Path | str | None = None) -> bool:
        """Return whether this home's owner accepts what emulated TPMs prove, where the policy does. Raises ConfigError."""
        base = Path(home) if home is not None else config.default_home()
        return Client.fleet_of(base / "owner").rehearsal

    def __enter__(self) -> "Fleet":
        """Use as a context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.close()

    def close(self) -> None:
        """Disconnect; jobs go on as far as they can without us."""
        if not self._loop.is_running():
            return
        self._call(self._leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()

    async def _leave(self) -> None:
        """End the session, and whatever an interrupted call left waiting on the loop."""
        await self._session.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        waiting = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return waiting.result()
        except BaseException:
            waiting.cancel()  # Ctrl-C ends the wait here; without this the coroutine would go on over there
            raise

    def pause(self, seconds: float) -> None:
        """Return when anything moved, or after `seconds`."""
        self._call(self._session.changed(seconds))

    # -- the two kinds of work

    def map(
        self, function: Callable[..., Any] | str, inputs: Iterable[Any], **options: Unpack[MapOptions]
    ) -> list[Any]:
        """Run `function` on every input, privately, and return the results in order. Options: see `submit_map`."""
        job = self.submit_map(function, inputs, **options)
        self._settled(job)
        return job.values()

    def infer(
        self, model: str | Path | bytes, inputs: Inputs, **options: Unpack[InferOptions]
    ) -> Array | dict[str, Array]:
        """Run an ONNX model over a table, privately, and return its outputs: one array where one went in and one comes out.

        Options: see `submit_inference`.
        """
        job = self.submit_inference(model, inputs, **options)
        self._settled(job)
        results = job.results()
        assert not isinstance(results, list)
        return results

    def _settled(self, job: Job) -> None:
        """Wait; a job that cannot run on this fleet as it is says so instead of waiting for ever, and one that may, why."""
        said = ""
        while job.wait(timeout=3.0) == "pending":
            explained = self.explain(job.id)
            if explained.verdicts and not any(verdict.admitted for verdict in explained.verdicts):
                reasons = sorted({reason for verdict in explained.verdicts for reason in verdict.reasons})
                raise RequirementUnmet(
                    f"no node of this fleet may run job {job.id[:8]} with privacy={explained.job.privacy!r}: "
                    f"{'; '.join(reasons)}\n"
                    f"  → {_ways_out(job.id[:8], reasons)}"
                )
            if job.reason() != said:
                said = job.reason()
                log.warning("job %s waits: %s", job.id[:8], said)
        job.wait()

    def submit_map(
        self,
        function: Callable[..., Any] | str,
        inputs: Iterable[Any],
        *,
        entry: str = "",
        privacy: str | Requirement = privacy.DEFAULT,
        name: str = "",
        packages: Sequence[str] = (),
        memory_mb: int = 512,
        task_seconds: float = 60.0,
        python: str = "",
    ) -> Job:
        """Submit a function over inputs, one task each. `function` is a def, or source text with `entry` its function.

        packages: what it imports beyond the standard library, like "numpy>=2"; must be offered by a node, is never
        installed. memory_mb, task_seconds: the most one task needs. An input or a result takes at most 8 MiB.
        Raises DataError, RequirementUnmet.
        """
        text, main = source.standalone(function, entry)
        names = tuple(package.split("=")[0].split("<")[0].split(">")[0].split("!")[0].strip() for package in packages)
        program = Program(kind=Kind.FUNCTION, source=text, entry=main, packages=names)
        encoded = drafting.of_values(inputs)
        needs = Needs(memory_mb=memory_mb, task_seconds=task_seconds, packages=tuple(packages), python=python)
        return self._submit(drafting.draft(program, encoded, name or main, privacy, needs), encoded)

    def submit_inference(
        self,
        model: str | Path | bytes,
        inputs: Inputs,
        *,
        rows_per_task: int | None = None,
        privacy: str | Requirement = privacy.DEFAULT,
        name: str = "",
        memory_mb: int = 1024,
        task_seconds: float = 60.0,
    ) -> Job:
        """Submit an ONNX model over an array, a dict of arrays or columns, or a file (csv, npy, npz, safetensors, arrow).

        Columns go to the inputs of their names, or side by side to a single input. Raises DataError, RequirementUnmet.
        """
        data = models.read_model(model)
        wanted = models.signature(data)
        encoded, bare = drafting.of_table(wanted, inputs, rows_per_task)
        title = name or (Path(model).stem if isinstance(model, str | Path) else "model")
        needs = Needs(memory_mb=memory_mb, task_seconds=task_seconds, packages=("onnxruntime",))
        program = Program(kind=Kind.INFERENCE, model=data)
        return self._submit(drafting.draft(program, encoded, title, privacy, needs, bare_array=bare), encoded)

    def _submit(self, draft: Draft, inputs: list[bytes]) -> Job:
        return Job(self, self._call(self._session.submit(draft, inputs)))

    # -- looking

    def job(self, prefix: str) -> Job:
        """Return one of our jobs by the beginning of its id, also after a restart. Raises UnknownJob."""
        if len(prefix) < SHORTEST_PREFIX:
            raise UnknownJob(f"{prefix!r} is too short for a job's id: at least {SHORTEST_PREFIX} characters of it")
        found = [job for job in self._call(self._session.jobs()) if job.hex().startswith(prefix.lower())]
        if len(found) != 1:
            raise UnknownJob(f"{len(found) or 'no'} jobs begin with {prefix!r}")
        return Job(self, self._call(self._session.reopen(found[0])))

    def jobs(self) -> list[JobRow]:
        """Return our jobs as the orchestrator knows them."""
        return list(self._call(self._session.ask("jobs")).jobs)

    def nodes(self) -> list[NodeRow]:
        """Return the fleet's nodes."""
        return list(self._call(self._session.ask("nodes")).nodes)

    def explain(self, job: str) -> Explanation:
        """Return which nodes run or refuse a job, and why. Raises UnknownJob, PeerUnreachable."""
        full = self.job(job).id
        rows = self._call(self._session.ask("explain", bytes.fromhex(full)))
        if not rows.jobs:
            raise UnknownJob(f"the orchestrator does not know job {job}")
        return Explanation(job=rows.jobs[0], verdicts=rows.verdicts, events=rows.events, granted=self.granted(full))

    def granted(self, job: str) -> tuple[Grantee, ...]:
        """Return every guest that got a job's key: where, by whose invitation, what it claimed. None of it is the fleet's word.

        Raises UnknownJob.
        """
        kept = self._call(self._session.granted(JobId(bytes.fromhex(self.job(job).id))))
        return grantees(kept, Client.operator_of(self._home / "owner"))

    def stop(self, job: str) -> None:
        """End a job; finished results stay. Raises UnknownJob."""
        full = self.job(job).id
        self._call(self._session.stop_job(JobId(bytes.fromhex(full))))

    def keep(self) -> None:
        """Let a background process see this home's unfinished jobs through after this one has ended."""
        keeper.start(self._home / "owner")

    def invite(self, role: str = "node", expires: float = INVITED_SECONDS) -> str:
        """Return a fresh single-use invitation, good for `expires` seconds. Raises InvitationRefused, DataError."""
        if role not in set(Role):
            raise DataError(f"an invitation is for a {' or an '.join(Role)}, not {role!r}")
        if not SHORTEST_SECONDS <= expires <= LONGEST_SECONDS:
            raise DataError(f"an invitation is good for {SHORTEST_SECONDS} s to {LONGEST_SECONDS // 86400} days")
        return self._call(self._session.invite(Role(role), expires))

    def remove(self, member: str) -> str:
        """Remove a node, by its name or the beginning of its key, or any member by its whole key; returns the key in hex.

        It is let in no more, its tasks run elsewhere, and owners seal no key to it. Only the operator's word does that.
        Raises DataError, InvitationRefused.
        """
        key, shown = members.named(member, self.nodes())
        self._call(self._session.remove(key, shown))
        return key.hex()

    # -- the appraisal policy (docs/specs/attestation.md, Policy)

    def policy(self) -> Policy:
        """Return the fleet's appraisal policy, the newest its operator signed that we saw; the default where there is none."""
        return self.mandate().policy

    def mandate(self) -> Mandate:
        """Return the same with its text, its number and who signed it."""
        order = self._call(self._session.policy())
        return policies.mandate(order, Client.operator_of(self._home / "owner"))

    def policy_text(self) -> str:
        """Return the fleet's appraisal policy as its operator signed it; empty: the default."""
        return self.mandate().text

    def set_policy(self, policy: Policy | str | bytes) -> None:
        """Set the fleet's appraisal policy, a Policy or its TOML (docs/specs/attestation.md), as its operator.

        Raises ConfigError naming what is wrong in it, InvitationRefused for everyone but the operator.
        """
        self._call(self._session.set_policy(policies.encoded(policy)))

    def approve(self, node: str, maker: str = "", note: str = "") -> str:
        """Vouch for a node's endorsement key as the operator; returns its Name in hex. `maker` as the TPM says, like AMD.

        Nothing but a look at the machine says whose key it is: compare it with `propolis attest --identity` over there.
        Raises DataError, ConfigError, InvitationRefused.
        """
        row = members.row_of(node, self.nodes())
        policy, ek = policies.approved(self.policy(), row, maker, note)
        self.set_policy(policy)
        return ek
