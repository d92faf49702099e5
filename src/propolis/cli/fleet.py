"""Fleet commands: up, down, nodes, invite, node join, node start, privacy."""

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from propolis.cli.rows import jobs_table, nodes_table
from propolis.cli.show import busy, console, emit, errors, table
from propolis.decisions.privacy import DEFAULT, KEYWORDS
from propolis.node.system import supported
from propolis.owner import keeper
from propolis.sdk import Fleet
from propolis.sdk.background import nobody_listens, running, stop_running
from propolis.sdk.local import LocalFleet, varied
from propolis.sdk.rehearsal import Rehearsal
from propolis.terms.errors import ConfigError, PeerUnreachable

REHEARSE = "--i-rehearse-with-emulated-tpms"
REFUSED = f"""emulated TPMs are no hardware root, and the default policy refuses them;
{REHEARSE} lets them count for a rehearsal"""
EMULATED = "--i-rehearse-with-an-emulated-tpm"
FUNCTIONS = "--i-accept-functions-of-strangers-without-namespaces"
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


@contextlib.contextmanager
def connected(home: Path) -> Iterator[Fleet]:
    """Open the home's fleet, visibly where it takes a moment; one that ended on this machine is not waited for."""
    ended = (home / "orchestrator").is_dir() and not running(home)
    down = PeerUnreachable(f"the local fleet of {home} does not run", hint="start it again: propolis up -d")
    if ended and nobody_listens(home):
        raise down
    try:
        with busy("reaching the fleet"):
            fleet = Fleet(home)
    except PeerUnreachable as error:
        if not ended:
            raise
        raise down from error
    with fleet:
        yield fleet


@click.command()
@click.option(
    "-n", "--nodes", "count", default=4, show_default=True, type=click.IntRange(0, 64), help="How many nodes."
)
@click.option(
    "--listen",
    multiple=True,
    help="Address other computers can reach, like 192.168.1.7:0, for UDP and TCP (default loopback).",
)
@click.option(
    FUNCTIONS, "functions", is_flag=True, help="Run functions also where only Landlock and seccomp hold them."
)
@click.option(
    "--tpm",
    is_flag=True,
    help="Give every node an emulated TPM (swtpm). The default policy refuses them: they are no chips.",
)
@click.option(
    REHEARSE,
    "rehearse",
    is_flag=True,
    help="With --tpm: a policy under which they count, labelled EMULATED everywhere.",
)
@click.option("-d", "--detach", is_flag=True, help="Leave it running in the background; end it with propolis down.")
@JSON
@click.pass_obj
def up(
    home: Path,
    /,
    count: int,
    listen: tuple[str, ...],
    functions: bool,
    tpm: bool,
    rehearse: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Start a local fleet: one orchestrator and N nodes with different limits."""
    if rehearse and not tpm:
        raise click.UsageError(f"{REHEARSE} goes with --tpm")
    if running(home):
        raise ConfigError(f"a local fleet runs in {home} already; end it with: propolis down")
    chips = Rehearsal(home) if tpm else None
    fleet = LocalFleet(home, varied(count), listen, lend=(FUNCTIONS,) if functions else (), rehearsal=chips)
    with busy(f"starting an orchestrator and {count} nodes{', each with an emulated TPM' if tpm else ''}"):
        fleet.start()
        if rehearse:
            fleet.rehearse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with connected(home) as owner:
            rows = owner.nodes()
            emit(as_json, {"home": str(home), "nodes": rows}, nodes_table(rows))
            if tpm and not rehearse and not as_json:
                console.print(REFUSED)
            if not detach:
                _watch(owner, as_json)
    except KeyboardInterrupt:
        errors.print("stopping")
    finally:
        if not detach:
            fleet.stop()
    if detach and not as_json:
        console.print("running in the background; try: propolis run --help, end with: propolis down")


def _watch(owner: Fleet, as_json: bool) -> None:
    """Show the fleet until Ctrl-C."""
    if as_json or not sys.stdout.isatty():
        while True:
            time.sleep(3600)
    with Live(console=console, refresh_per_second=2) as live:
        while True:
            hint = Text("use another terminal: propolis run, jobs, explain. Ctrl-C ends the fleet.", style="dim")
            live.update(Group(nodes_table(owner.nodes()), jobs_table(owner.jobs()[-10:]), hint))
            time.sleep(1)


@click.command()
@JSON
@click.pass_obj
def down(home: Path, as_json: bool) -> None:
    """End a local fleet that was started with up --detach."""
    with busy("ending the fleet"):
        ended = stop_running(home) + keeper.end(home / "owner")
    emit(as_json, {"ended": ended}, text=f"{ended} processes ended" if ended else f"no local fleet runs in {home}")


@click.group(invoke_without_command=True)
@JSON
@click.pass_context
def nodes(context: click.Context, as_json: bool) -> None:
    """List the fleet's nodes: state, load, speed, and what isolation each one says it reaches; or remove one."""
    if context.invoked_subcommand is not None:
        return
    with connected(context.obj) as fleet:
        rows = fleet.nodes()
    emit(as_json, rows, nodes_table(rows))


@nodes.command()
@click.argument("node")
@JSON
@click.pass_obj
def remove(home: Path, node: str, as_json: bool) -> None:
    """Remove NODE (its name or the beginning of its key, or any member's whole key) from the fleet, for good.

    Its tasks run elsewhere, it is let in no more, and no owner that heard of it seals a key to it. The operator alone may.
    """
    with connected(home) as fleet:
        key = fleet.remove(node)
    emit(as_json, {"removed": key}, text=f"removed {key[:8]}; its tasks run elsewhere, and it is not let in again")


def _seconds(context: click.Context, option: click.Parameter, text: str) -> float:
    """Read a time like 30m, 12h or 7d."""
    found = re.fullmatch(r"(\d{1,7})([smhd])", text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no time; like 30m, 12h or 7d", context, option)
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]


@click.command()
@click.argument("role", type=click.Choice(["node", "owner"]), default="node")
@click.option(
    "--expires",
    callback=_seconds,
    metavar="TIME",
    default="7d",
    show_default=True,
    help="How long it opens, like 30m, 12h or 7d.",
)
@JSON
@click.pass_obj
def invite(home: Path, role: str, expires: float, as_json: bool) -> None:
    """Print a fresh single-use invitation."""
    with connected(home) as fleet:
        text = fleet.invite(role, expires)
    emit(as_json, {"role": role, "invitation": text, "expires": int(time.time() + expires)}, text=text)


@click.command()
@click.argument("invitation")
@click.option(
    REHEARSE,
    "rehearse",
    is_flag=True,
    help="Accept what emulated TPMs prove, which is nothing, where the fleet's policy does. Kept; also for who joined already.",
)
@JSON
@click.pass_obj
def join(home: Path, invitation: str, rehearse: bool, as_json: bool) -> None:
    """Become an owner in a fleet by an invitation."""
    with busy("joining the fleet"):
        Fleet.join(invitation, home, rehearse=rehearse)
    rehearses = Fleet.rehearses(home)
    text = "joined; EMULATED TPMs count for you where the fleet's policy rehearses" if rehearses else "joined"
    emit(as_json, {"home": str(home), "joined": True, "rehearsal": rehearses}, text=f"{text}; try: propolis nodes")


@click.group()
def node() -> None:
    """Lend this computer: join a fleet, start again later."""


def _limits(command: click.Command) -> click.Command:
    for option in (
        click.option("--name", default="", help="How people call this machine."),
        click.option(
            "--slots", type=click.IntRange(0, 1024), default=0, help="Guests at the same time (0: one per core)."
        ),
        click.option(
            "--memory-mb", type=click.IntRange(0), default=0, help="Memory for one guest (0: half of all, shared)."
        ),
        click.option("--offer", multiple=True, help="A package jobs may import. Nothing is ever installed."),
        click.option(
            "--listen", multiple=True, help="Address to listen on (default: the one that leads to the fleet)."
        ),
        click.option("--no-tpm", is_flag=True, help="Do not use this machine's TPM: it proves nothing then. Kept."),
        click.option("--tpm", is_flag=True, help="Use this machine's own TPM again, where there is one. Kept."),
        click.option(
            EMULATED,
            metavar="SOCKET",
            default="",
            help="Show what swtpm at this socket attests. It proves nothing, and counts in a rehearsal alone. Kept.",
        ),
        click.option("--region", default="", help="Where this computer stands, coarse to fine, like eu-fr."),
        click.option("--cost", type=click.FloatRange(0), help="What you ask per guest and hour; 0 lends for nothing."),
        click.option(
            FUNCTIONS,
            is_flag=True,
            help="Run anybody's Python also where only Landlock and seccomp hold it. Kept until you edit node.json.",
        ),
    ):
        command = option(command)
    return command


@click.command("join")
@click.argument("invitation")
@JSON
@click.pass_obj
def node_join(home: Path, /, invitation: str, as_json: bool, **limits: object) -> None:
    """Join a fleet with an invitation (- reads it from stdin) and run in the foreground; Ctrl-C leaves."""
    if invitation == "-":
        invitation = sys.stdin.readline().strip()
    _become_node(home, invitation, limits, as_json)


@click.command("start")
@JSON
@click.pass_obj
def node_start(home: Path, /, as_json: bool, **limits: object) -> None:
    """Run again as the member this computer already is."""
    _become_node(home, "", limits, as_json)


def _become_node(home: Path, invitation: str, limits: dict[str, object], as_json: bool) -> None:
    """Turn into the node: whoever ends this process ends it, and nothing is left behind."""
    supported()
    if sum(bool(limits[name]) for name in ("tpm", "no_tpm", EMULATED.strip("-").replace("-", "_"))) > 1:
        raise click.UsageError(f"only one of --tpm, --no-tpm and {EMULATED} says which TPM is shown")
    command = [sys.executable, "-m", "propolis.node", "--home", str(home / "node")]
    command += [] if as_json else ["--say", "inside the fleet; jobs run sandboxed on this machine. Ctrl-C leaves."]
    for name, value in limits.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):
            command += [word for item in value for word in (flag, str(item))]
        elif value is True:
            command.append(flag)
        elif value or isinstance(value, float):
            command += [flag, str(value)]
    if errors.is_terminal and not as_json:
        errors.print("reaching the fleet")  # the node takes seconds to be inside, and says nothing before
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C waits until there is a node that can leave
    os.execve(sys.executable, command, {**os.environ, "PROPOLIS_INVITATION": invitation})  # noqa: S606


for _command in (node_join, node_start):
    node.add_command(_limits(_command))


@click.command()
@JSON
def privacy(as_json: bool) -> None:
    """Say what each privacy keyword demands."""
    rows = [
        {"keyword": word, "default": word == DEFAULT, "meaning": text, "demands": [str(d) for d in demands]}
        for word, (text, demands) in KEYWORDS.items()
    ]
    shown = table(
        "",
        ("KEYWORD", "MEANING"),
        [(f"{r['keyword']}{' (default)' if r['default'] else ''}", r["meaning"]) for r in rows],
    )
    emit(as_json, rows, shown)


COMMANDS = (up, down, nodes, invite, join, node, privacy)
