"""`propolis`: the command line. Only here is anything printed, and only here does the program exit."""

import logging
import os
import sys
import traceback
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import click

import propolis
from propolis.cli import attest, demo, demo_proof, doctor, fleet, jobs, policy, running, sim, vault_keys, verify
from propolis.cli.show import Said, errors
from propolis.runtime import config
from propolis.runtime.ending import Exit, code_for
from propolis.terms import errors as tree

DEBUG = "PROPOLIS_DEBUG"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=None,
    help="State folder (default $PROPOLIS_HOME or ~/.propolis).",
)
@click.version_option(propolis.__version__, prog_name="propolis")
@click.pass_context
def cli(context: click.Context, home: Path | None) -> None:
    """Run private AI jobs on other people's computers without having to trust those people."""
    context.obj = home or config.default_home()


for command in (
    *fleet.COMMANDS,
    *running.COMMANDS,
    *jobs.COMMANDS,
    *policy.COMMANDS,
    doctor.doctor,
    attest.attest,
    verify.verify,
    vault_keys.vault,
    demo.demo,
    demo_proof.demo_proof,
    sim.sim,
):
    cli.add_command(command)


def _say(error: tree.PropolisError) -> None:
    errors.print(f"error {error.code}: {error.explain()}")


def _unforeseen(error: Exception) -> tree.ProtocolMisuse:
    """What nobody foresaw is our mistake: say it in one line, and how to tell us. The traceback only where asked for."""
    if os.environ.get(DEBUG):
        traceback.print_exc()
    text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return tree.ProtocolMisuse(
        text, hint=f"this is a defect of propolis; please report it with what {DEBUG}=1 adds to this"
    )


def main() -> None:
    """Run and exit."""
    logging.getLogger("propolis").addHandler(Said())
    try:
        sys.exit(cli.main(standalone_mode=False) or Exit.OK)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        sys.exit(Exit.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:  # whoever read us has seen enough, like head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)
    except tree.PropolisError as error:
        _say(error)
        sys.exit(code_for(error))
    except Exception as error:  # noqa: BLE001  the last net before a person's terminal
        _say(_unforeseen(error))
        sys.exit(Exit.FAILED)


if __name__ == "__main__":
    main()
