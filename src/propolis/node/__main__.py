"""`python -m propolis.node --home DIR [--join INVITATION]`: one node; prints one JSON line once it is inside its fleet."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from propolis.adapters.wire.source import leads_here
from propolis.messages.membership import Role
from propolis.node.system import supported
from propolis.ports.executor import Executor
from propolis.runtime import config, ending, invitation
from propolis.runtime.enlisting import enlist
from propolis.runtime.signals import ends_on_signal
from propolis.terms.contact import Contact
from propolis.terms.errors import PropolisError
from propolis.terms.text import one_line

if TYPE_CHECKING:
    from propolis.node.assembly import Node

FUNCTIONS = "--i-accept-functions-of-strangers-without-namespaces"
BARE = "--i-accept-that-jobs-run-unconfined-on-this-machine"
EMULATED = "--i-rehearse-with-an-emulated-tpm"
ELSEWHERE = (
    "check that it runs and that it listens where this computer can reach it (propolis up --listen ADDRESS:0), that both are on\n"
    "    one network, and that no firewall keeps UDP, or TCP for ws://, from its port"
)
HERE = (
    "its address is loopback, this computer's own: check that it runs here; if it runs on another one, start it there with\n"
    "    propolis up --listen ADDRESS:0 and ask for a fresh invitation"
)

_said: list[str] = []
_inside: list[bool] = []


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    options = _options()
    config.log_to_stderr(options.log)
    try:
        supported()  # before the imports in _node, which only Linux has
        node = _node(options)
        asyncio.run(_serve(node, options.say))
    except PropolisError as error:
        ending.say(error)
        return ending.code_for(error)
    if options.say:
        left = "left the fleet; propolis node start comes back as the same member"
        sys.stderr.write(f"{left if _inside else 'ended before it was inside; propolis node start tries again'}\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="propolis.node", allow_abbrev=False)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument(
        "--join", default="", help="an invitation; $PROPOLIS_INVITATION keeps it out of the process list"
    )
    parser.add_argument("--name", default="")
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--memory-mb", type=int, default=0)
    parser.add_argument("--offer", action="append", default=[], help="a package jobs may import; again for more")
    parser.add_argument("--listen", action="append", default=[], help="default: the address that leads to the fleet")
    parser.add_argument("--region", default="", help="where this machine stands, coarse to fine, like eu-fr")
    parser.add_argument("--cost", type=float, default=None, help="asked per guest and hour; 0 lends it for nothing")
    parser.add_argument(FUNCTIONS, dest="functions", action="store_true")
    parser.add_argument(BARE, dest="bare", action="store_true")
    chip = parser.add_mutually_exclusive_group()
    chip.add_argument("--no-tpm", action="store_true", help="do not use this machine's TPM: it proves nothing then")
    chip.add_argument("--tpm", action="store_true", help="use it again")
    chip.add_argument(EMULATED, dest="emulated", metavar="SOCKET", default="", help="use swtpm: it proves nothing")
    parser.add_argument("--say", default="", help="what to print once inside, instead of a JSON line")
    parser.add_argument("--log", default="WARNING")
    return parser.parse_args()


def _node(options: argparse.Namespace) -> "Node":
    from propolis.adapters.executor.bare import BareExecutor
    from propolis.adapters.keyhome.file import FileKeyHome
    from propolis.node.assembly import Node, sandboxed

    join = options.join or os.environ.pop("PROPOLIS_INVITATION", "")
    if join:
        key = options.home / "identity"
        enlist(options.home, invitation.from_text(join), Role.NODE, lambda: FileKeyHome(key).identity)
    settings = _settings(options)
    executor: Executor = BareExecutor(i_accept_that_jobs_run_unconfined=True) if options.bare else sandboxed(settings)
    return Node(options.home, executor, settings, _unreached, _appraised if options.say else None)


def _settings(options: argparse.Namespace) -> config.NodeFile:
    """Return the stored settings with what the command line adds, and store them for the next start."""
    known = config.read(options.home / "node.json", config.NodeFile) or config.NodeFile()
    settings = config.NodeFile(
        name=options.name or known.name,
        slots=options.slots or known.slots,
        memory_mb=options.memory_mb or known.memory_mb,
        packages=tuple(dict.fromkeys((*known.packages, *options.offer))),
        kinds=known.kinds,
        listen=tuple(options.listen) or known.listen,
        functions_without_namespaces=options.functions or known.functions_without_namespaces,
        region=options.region or known.region,
        cost=known.cost if options.cost is None else options.cost,
        tpm=not options.no_tpm and (known.tpm or options.tpm or bool(options.emulated)),
        emulated_tpm="" if options.tpm else _absolute(options.emulated) or known.emulated_tpm,
    )
    config.write(options.home / "node.json", settings)
    return settings


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ""  # the next start may happen in another folder


def _appraised(words: str) -> None:
    """Tell the person at the terminal what the fleet concluded of this machine; its reasons are another machine's words."""
    sys.stderr.write(f"{one_line(words)}\n")
    sys.stderr.flush()


def _unreached(orchestrator: Contact, reason: str) -> None:
    """Tell the person, once: why nothing happens yet, and what to look at. The log has what comes later."""
    if _said:
        return
    _said.append(reason)
    where = ", ".join(orchestrator.addresses)
    check = HERE if all(map(leads_here, orchestrator.addresses)) else ELSEWHERE
    sys.stderr.write(
        f"the orchestrator at {where} is not reached yet: {reason}\n  → {check}. Trying again; Ctrl-C ends it.\n"
    )
    sys.stderr.flush()


async def _serve(node: "Node", say: str) -> None:
    from propolis.node.assembly import run

    task = asyncio.create_task(run(node, lambda: _ready(say)))
    ends_on_signal(task)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the command line held it back while we started
    try:
        await task
    except asyncio.CancelledError:
        return


def _ready(say: str) -> None:
    _inside.append(True)
    sys.stdout.write((say or json.dumps({"ready": True, "pid": os.getpid()})) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
