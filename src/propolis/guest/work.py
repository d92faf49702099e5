"""The two kinds of work a guest does, each behind one call: value in, value out. Loaded once per job, from bytes."""

import errno
import importlib
import io
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import numpy as np

from propolis.adapters.executor.environment import CORES_PER_SLOT
from propolis.guest import fitting
from propolis.messages import codec, values
from propolis.messages.program import Program
from propolis.terms.errors import DataError, PropolisError
from propolis.terms.job import Kind

Compute = Callable[[Any], Any]


def load(program: Program) -> Compute:
    """Return the program as a callable. Raises whatever the owner's program raises; its prints go with the first task's."""
    with _kept():
        return _model(program.model) if program.kind is Kind.INFERENCE else _function(program)


def _function(program: Program) -> Compute:
    for package in program.packages:
        importlib.import_module(package)
    space: dict[str, Any] = {"__name__": "__job__", "__builtins__": __builtins__}
    exec(compile(program.source, "<job>", "exec"), space)  # noqa: S102  the owner's own code, inside its own sandbox
    function = space[program.entry]
    if not callable(function):
        raise TypeError(f"{program.entry} is not a function")
    return function  # type: ignore[no-any-return]


def _model(model: bytes) -> Compute:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = CORES_PER_SLOT
    options.inter_op_num_threads = CORES_PER_SLOT
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    wanted = session.get_inputs()
    outputs = [item.name for item in session.get_outputs()]

    def compute(value: Any) -> Any:
        answers = session.run(outputs, fitting.feed(wanted, value))
        return {name: _plain(answer) for name, answer in zip(outputs, answers, strict=True)}

    _warm(session, compute)
    return compute


def _plain(answer: Any) -> Any:
    """Maps and sequences of classifiers come as Python lists; text arrays as objects: make both travel."""
    if isinstance(answer, np.ndarray) and answer.dtype.kind == "O":
        return answer.astype(str)
    if isinstance(answer, list) and answer and isinstance(answer[0], dict):
        return [{str(key): value for key, value in row.items()} for row in answer]
    return answer


def _warm(session: Any, compute: Compute) -> None:
    """One run on zeros before the lock, where the shapes say enough: late allocations and loads happen now."""
    feed: dict[str, Any] = {}
    for item in session.get_inputs():
        if item.type not in fitting.NUMBERS or any(isinstance(side, int) and side < 0 for side in item.shape):
            return
        feed[item.name] = np.zeros(
            [side if isinstance(side, int) else 1 for side in item.shape], fitting.NUMBERS[item.type]
        )
    try:
        compute(feed)
    except Exception:  # noqa: BLE001, S110  zeros may be no valid input; the first real one will tell
        pass


class Printed(io.TextIOBase):
    """Keeps the first part of what a task prints, and says where it stopped keeping."""

    encoding = "utf-8"  # what programs ask before they print

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._room = values.PRINTED_KEPT

    def write(self, text: str) -> int:
        """Keep what fits."""
        if self._room > 0:
            self._parts.append(text[: self._room])
        self._room -= len(text)
        return len(text)

    def take(self) -> str:
        """Return what was kept, and begin anew for the next task."""
        text = "".join(self._parts).encode("utf-8", "replace").decode()  # half a surrogate pair cannot travel
        if self._room < 0:
            text += f"\n... cut: {-self._room} more characters; {values.PRINTED_KEPT // 1024} kB are kept of what a task prints\n"
        self._parts, self._room = [], values.PRINTED_KEPT
        return text


_printed = Printed()
"""One for the life of the guest: a log handler made in the first task still writes to the right place in the next."""


@contextmanager
def _kept() -> Iterator[None]:
    """Keep what is printed, on stderr too: warnings and logging go there."""
    with redirect_stdout(_printed), redirect_stderr(_printed):
        yield


def outcome(compute: Compute, plain: bytes, *, scratch: bool = True) -> bytes:
    """Run one task; return its encoded Outcome. The job's own errors are part of the outcome, for its owner alone.

    `scratch`: whether the guest has folders of its own; where not, what fails for that says so.
    """
    try:
        with _kept():
            answer = compute(values.decode(plain))
    except BaseException as error:  # noqa: BLE001  whatever the owner's code raises goes to its owner, SystemExit too
        story = _story(error) + (NO_SCRATCH if not scratch and _wanted_scratch(error) else "")
        return codec.encode(values.Outcome(ok=False, error=story[-values.MAX_ERROR :], printed=_printed.take()))
    try:
        result = values.Outcome(ok=True, value=values.encode(answer), printed=_printed.take())
    except PropolisError as error:  # where in our own code it was found helps nobody
        result = values.Outcome(
            ok=False, error=f"what the function returned: {error}"[:1000] + "\n", printed=_printed.take()
        )
    return codec.encode(result)


NO_SCRATCH = (
    "note: on this machine a guest has no folder of its own (it reaches no namespaces, only the flat rung), so no file can be\n"
    "made, changed or locked; keep the data in memory, or run where namespaces are allowed (see propolis doctor)\n"
)


def _wanted_scratch(error: BaseException) -> bool:
    """Return whether a task failed for want of files of its own, as far as its error tells."""
    if isinstance(error, OSError):
        return error.errno in (errno.EPERM, errno.EACCES, errno.EROFS) or "temporary directory" in str(error)
    return type(error).__name__ == "OperationalError" and "database" in str(error)  # sqlite3's


def failed(error: BaseException) -> Compute:
    """Return a callable that raises what loading raised: the owner reads it in each task's sealed outcome."""
    story = _story(error)

    def compute(_value: Any) -> Any:
        raise RuntimeError(f"the program did not load: {story}")

    return compute


def _story(error: BaseException) -> str:
    if isinstance(error, DataError):  # ours: it says all, and where in our own code it was found helps nobody
        return f"{error}\n"[-values.MAX_ERROR :].encode("utf-8", "replace").decode()
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    shown = [line for line in lines if "propolis/guest/" not in line]
    return "".join(shown)[-values.MAX_ERROR :].encode("utf-8", "replace").decode()
