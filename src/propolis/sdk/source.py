"""A Python function as source that stands alone: what it uses from its module travels with it, or it is refused and told why."""

import ast
import inspect
import textwrap
import types
from collections.abc import Callable
from typing import Any

from propolis.terms.errors import DataError

_PLAIN = (bool, int, float, str, bytes, type(None))


def standalone(function: Callable[..., Any] | str, entry: str = "") -> tuple[str, str]:
    """Return (source, entry name). Takes a function, or source text with the entry's name. Raises DataError."""
    if isinstance(function, str):
        _checked(function, entry)
        return function, entry
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise DataError("only functions made with def can travel; write it as def f(x): ...")
    parts: dict[str, str] = {}
    _collect(function, parts)
    source = "\n".join(parts.values())
    _checked(source, function.__name__)
    return source, function.__name__


def _checked(source: str, entry: str) -> None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise DataError(f"the function's source does not parse: {error}") from error
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if entry not in names:
        raise DataError(f"there is no function {entry!r} in the source; there is: {', '.join(sorted(names)) or 'none'}")


def _collect(function: types.FunctionType, parts: dict[str, str]) -> None:
    """Add the function's source after everything it uses."""
    try:
        variables = inspect.getclosurevars(function)
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise DataError(f"the source of {function.__name__} is not at hand; put it into a file") from error
    if variables.nonlocals:
        names = ", ".join(sorted(variables.nonlocals))
        raise DataError(f"{function.__name__} uses {names} of an enclosing function; pass them in its input instead")
    for name, value in sorted(variables.globals.items()):
        if name not in parts:
            _carry(name, value, parts, function.__name__)
    parts[function.__name__] = source


def _carry(name: str, value: Any, parts: dict[str, str], user: str) -> None:
    if isinstance(value, types.ModuleType):
        parts[name] = f"import {value.__name__} as {name}" if value.__name__ != name else f"import {name}"
    elif isinstance(value, _PLAIN):
        parts[name] = f"{name} = {value!r}"
    elif isinstance(value, types.FunctionType) and value.__module__ == "__main__":
        parts[name] = ""
        _collect(value, parts)
    elif isinstance(value, types.FunctionType | type) and value.__module__ != "__main__":
        parts[name] = f"from {value.__module__} import {value.__qualname__.split('.')[0]} as {name}"
    else:
        raise DataError(
            f"{user} uses {name}, a {type(value).__name__} that cannot travel; pass it in the input instead"
        )
