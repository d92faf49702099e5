"""Feed one target many mutations and count: refused, taken, escaped, the slowest. What escapes is saved, to be fed again."""

import signal
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fuzz.mutating import Mutations
from fuzz.target import Target

ENDLESS_SECONDS = 20.0  # of one mutation; the slowest parser needs milliseconds, a busy machine ten times that
KEPT = 20  # escapes that are saved of one target


class Endless(Exception):
    """One mutation took longer than any may."""


class Result(msgspec.Struct, kw_only=True):
    """What came of one target. `slowest_ms` is wall-clock time of one mutation."""

    parser: str
    mutations: int = 0
    rejections: int = 0
    accepted: int = 0
    escapes: int = 0
    slowest_ms: float = 0.0
    first_escape: str = ""


def run(target: Target, count: int, seed: int, folder: Path, numbers: Iterable[int] | None = None) -> Result:
    """Feed mutations 0 to `count`, or those of these `numbers`. Escapes are saved under `folder`."""
    found, mutations = Result(parser=target.name), Mutations(target, seed)
    for n in range(count) if numbers is None else numbers:
        data = mutations.number(n)
        started = time.perf_counter()
        try:
            with _bounded():
                target.run(data)
            found.accepted += 1
        except target.refusals:
            found.rejections += 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of a library in Rust is no Exception
            found.escapes += 1
            found.first_escape = found.first_escape or f"{type(error).__name__}: {error}"[:200]
            if found.escapes <= KEPT:
                _save(folder, target.name, seed, n, data)
        found.mutations += 1
        found.slowest_ms = max(found.slowest_ms, round(1e3 * (time.perf_counter() - started), 3))
    return found


@contextmanager
def _bounded() -> Iterator[None]:
    """Raise Endless after ENDLESS_SECONDS; only the main thread of a Unix machine can."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def over(*_: object) -> None:
        raise Endless(f"no end within {ENDLESS_SECONDS:g} s")

    before = signal.signal(signal.SIGALRM, over)
    left, _ = signal.setitimer(signal.ITIMER_REAL, ENDLESS_SECONDS)  # a test's own timeout, where it runs by this timer
    started = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - started)) if left else 0)
        signal.signal(signal.SIGALRM, before)


def _save(folder: Path, name: str, seed: int, n: int, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / f"{name.replace(' ', '-').replace('/', '-')}-{seed}-{n}"
    base.with_suffix(".bin").write_bytes(data)
    base.with_suffix(".txt").write_text(traceback.format_exc())
