"""Text that shows what it is. Strangers name nodes and jobs and give reasons, and a terminal obeys control characters."""

import re

_PATH = re.compile(r"/[^\s:;,]+")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
_STEERS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029, 0x200E, 0x200F, 0x061C)  # direction, lines
_HIDDEN = (0x00AD, 0x180E, 0x200B, 0x2060, 0xFEFF, 0xFFF9, 0xFFFA, 0xFFFB)  # two names that look the same
_CONTROL |= {code: f"\\u{code:04x}" for code in (*_STEERS, *_HIDDEN)}
_CONTROL |= {code: f"\\U{code:08x}" for code in range(0xE0000, 0xE0080)}  # tags: text that nobody sees
_LINE = _CONTROL | {ord("\n"): "\\x0a", ord("\t"): "\\x09"}


def clean(text: str) -> str:
    """Return the text with control characters shown instead of obeyed; lines and tabs stay."""
    return text.translate(_CONTROL)


def one_line(text: str) -> str:
    """Return the text as one line of a log: what a stranger said cannot begin another one."""
    return text.translate(_LINE)


def without_paths(text: str) -> str:
    """Return a text that goes to others, without the paths of this machine in it."""
    return _PATH.sub("(a path)", text)
