"""Secrets come by a prompt, or from a file or stdin: never as a word of the command line, where every process reads them."""

import sys
from pathlib import Path

import click

from propolis.cli.show import errors
from propolis.terms.errors import DataError

STDIN = "-"
LONGEST = 1024  # bytes of a secret's file that are read


def from_file(path: str) -> str:
    """Return the first line of a file, of stdin for `-`. Raises DataError: not readable, empty, too long, not text."""
    try:
        if path == STDIN:
            data = sys.stdin.buffer.readline(LONGEST + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.readline(LONGEST + 1)
        text = data.decode().rstrip("\r\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} holds no text") from error
    if not text or len(data) > LONGEST:
        raise DataError(f"the first line of {path} holds no secret")
    return text


def asked(what: str, path: str | None, option: str, *, twice: bool = False) -> str:
    """Return a secret: from a file where one is named, else from the person at the terminal. Raises DataError without one."""
    if path is not None:
        return from_file(path)
    if not sys.stdin.isatty():
        raise DataError(
            f"the vault's {what} is needed and nobody is at the terminal", hint=f"{option} FILE, or {option} -"
        )
    errors.print("")
    found: str = click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
    return found
