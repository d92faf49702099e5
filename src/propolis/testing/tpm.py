"""What every line to a TPM must do. `make` returns a fresh open line to a started TPM 2.0."""

from collections.abc import Callable

from propolis.crypto.tpm.ids import Command, Tag
from propolis.crypto.tpm.marshal import u16, u32
from propolis.ports.tpm import TpmLine
from propolis.terms.errors import TpmError

Make = Callable[[], TpmLine]


def _command(code: int, body: bytes = b"") -> bytes:
    return u16(Tag.NO_SESSIONS) + u32(10 + len(body)) + u32(code) + body


RANDOM = _command(Command.GET_RANDOM, u16(16))
NONSENSE = _command(0x7FF)


def answers_a_command_with_a_whole_response(make: Make) -> None:
    """The announced size is the size."""
    line = make()
    answer = line.transact(RANDOM)
    assert int.from_bytes(answer[2:6], "big") == len(answer) == 28
    assert answer[6:10] == bytes(4)
    line.close()


def an_error_is_an_answer_and_the_line_goes_on(make: Make) -> None:
    """A response code is the caller's business."""
    line = make()
    assert int.from_bytes(line.transact(NONSENSE)[6:10], "big") == 0x143
    assert line.transact(RANDOM)[6:10] == bytes(4)
    line.close()


def closing_twice_is_no_error_and_nothing_is_answered_then(make: Make) -> None:
    """A closed line is closed."""
    line = make()
    line.close()
    line.close()
    try:
        line.transact(RANDOM)
    except TpmError:
        return
    raise AssertionError("a closed line answered")


SUITE = (
    answers_a_command_with_a_whole_response,
    an_error_is_an_answer_and_the_line_goes_on,
    closing_twice_is_no_error_and_nothing_is_answered_then,
)
