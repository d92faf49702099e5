"""A Python function as source that stands alone: what it uses from its module travels with it, or it is refused and told why."""

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

from propolis.terms.errors import DataError

ONLY_DEF = "only functions made with def can travel; write it as def f(x): ..."
MOST_NAMES = 8
_PLAIN = (bool, int, float, str, bytes, type(None))


def standalone(function: Callable[..., Any] | str, entry: str = "") -> tuple[str, str]:
    """Return (source, entry name). Takes a function, or source text with the entry's name. Raises DataError."""
    if isinstance(function, str):
        checked(function, entry)
        return function, entry
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise DataError(ONLY_DEF)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise DataError(f"{function.__name__} is async or a generator: {ONLY_DEF}")
    parts: dict[str, str] = {}
    _collect(function, parts)
    source = "\n".join(parts.values())
    checked(source, function.__name__)
    return source, function.__name__


def checked(source: str, entry: str, origin: str = "the source") -> None:
    """Raise DataError, naming `origin`, unless `entry` is made with def in the source."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise DataError(f"{origin}, line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{origin} does not parse: {error}") from error
    names = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if entry not in names:
        if any(isinstance(node, ast.AsyncFunctionDef) and node.name == entry for node in tree.body):
            raise DataError(f"{entry} in {origin} is async: {ONLY_DEF}", hint="leave out async and await")
        if any(entry in _bound(node) for node in tree.body):
            raise DataError(f"{entry} in {origin} is no function made with def: {ONLY_DEF}")
        shown = ", ".join(sorted(names)[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
        raise DataError(f"there is no function {entry!r} in {origin}; there is: {shown or 'none'}")
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own(names[entry])):
        raise DataError(f"{entry} in {origin} is a generator: {ONLY_DEF}", hint="return a list")


def _bound(node: ast.stmt) -> set[str]:
    """Return the names a statement at the top of a module gives to what is no plain function."""
    if isinstance(node, ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.Import | ast.ImportFrom):
        names |= {alias.asname or alias.name for alias in node.names}
    return names


def _own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Yield a function's own nodes, without those of functions inside it."""
    left: list[ast.AST] = list(function.body)
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            left.extend(ast.iter_child_nodes(node))


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
