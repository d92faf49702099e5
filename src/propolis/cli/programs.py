"""What PROGRAM names, a model or a function in a script, and what is wrong with it: found before anything else is looked at."""

from pathlib import Path

import msgspec

from propolis.sdk import source
from propolis.terms.errors import DataError
from propolis.terms.job import Kind

WANTED = "PROGRAM is model.onnx or script.py:function"


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A program by its kind. `text` and `entry` are a script's."""

    kind: Kind
    path: Path
    text: str = ""
    entry: str = ""


def named(program: str) -> Named:
    """Return what the word on the command line names. Raises DataError."""
    script, colon, entry = program.rpartition(":")
    if Path(program).suffix.lower() == ".onnx":
        return Named(kind=Kind.INFERENCE, path=_file(program))
    if colon and Path(script).suffix.lower() == ".py":
        path = _file(script)
        text = _text(path)
        if not entry:
            raise DataError(f"{program} names no function", hint=f"name one of the script's: {script}:FUNCTION")
        source.checked(text, entry, str(path))
        return Named(kind=Kind.FUNCTION, path=path, text=text, entry=entry)
    path = _file(program)
    if path.suffix.lower() == ".py":
        raise DataError(f"{program} is a script; one function of it runs", hint=f"name it: {program}:FUNCTION")
    raise DataError(f"{program} is neither a model nor a script", hint=WANTED)


def _file(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        raise DataError(f"{name} is a folder", hint=WANTED)
    if not path.is_file():
        raise DataError(f"there is no file {name}", hint=WANTED)
    return path


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
