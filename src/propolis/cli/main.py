"""`propolis`: the command line. Only here is anything printed, and only here does the program exit."""

import logging
import os
import sys
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import click

import propolis
from propolis.cli import demo, doctor, fleet, jobs, sim
from propolis.cli.show import Exit, Said, errors
from propolis.runtime import config
from propolis.terms import errors as tree


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


for command in (*fleet.COMMANDS, *jobs.COMMANDS, doctor.doctor, demo.demo, sim.sim):
    cli.add_command(command)


def code_for(error: tree.PropolisError) -> Exit:
    """Return the exit code of an error."""
    match error:
        case tree.WireError():
            return Exit.UNREACHABLE
        case tree.AdmissionError():
            return Exit.REFUSED
        case tree.ExecutorError():
            return Exit.FAILED
        case tree.ConfigError() | tree.StoreError() | tree.CustodyError():
            return Exit.CONFIG
        case tree.DataError():
            return Exit.USAGE
        case _:
            return Exit.FAILED


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
    except tree.PropolisError as error:
        errors.print(f"[red]error[/red] {error.code}", end=": ", markup=True)
        errors.print(error.explain())
        sys.exit(code_for(error))


if __name__ == "__main__":
    main()
