"""`python -m propolis.orchestrator --home DIR`: one orchestrator; prints one JSON line when it serves."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from propolis.orchestrator.assembly import Orchestrator
from propolis.runtime import config, ending
from propolis.runtime.signals import ends_on_signal
from propolis.terms.errors import PropolisError

MAX_FILES = 65_536


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="propolis.orchestrator", allow_abbrev=False)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--listen", action="append", default=[], help="host:port for both wires; port 0: any, kept")
    parser.add_argument("--invite-owner", action="store_true")
    parser.add_argument("--log", default="WARNING")
    options = parser.parse_args()
    config.log_to_stderr(options.log)
    _many_files()
    try:
        orchestrator = Orchestrator(options.home, options.listen)
        asyncio.run(_serve(orchestrator, options.invite_owner))
    except PropolisError as error:
        ending.say(error)
        return ending.code_for(error)
    return 0


def _many_files() -> None:
    """Every member and stranger is a descriptor: allow as many as the system lets us."""
    try:
        import resource
    except ImportError:  # no such limit on this system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(orchestrator: Orchestrator, invite: bool) -> None:
    task = asyncio.create_task(orchestrator.serve(_ready, invite_operator=invite))
    ends_on_signal(task)
    try:
        await task
    except asyncio.CancelledError:
        return


def _ready(orchestrator: Orchestrator) -> None:
    line = {
        "ready": True,
        "addresses": list(orchestrator.addresses),
        "fleet": orchestrator.keys.identity.hex(),
        "owner_invitation": orchestrator.owner_invitation,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
