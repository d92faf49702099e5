"""The matrix of bad inputs (facts, 7.10): a row for every entry of its cells, with the code each must be refused by.

"" = it must be taken. Rows are in rows_*.py; more of each kind stands with its
technology in tests/evidence.
"""

from collections import Counter

import pytest
import rows_chips
import rows_envelopes
import rows_hardware
import rows_logs
import rows_tpm
from rows_chips import no_pauses

from propolis.terms.errors import Rejected, TpmError

ROWS = [*rows_tpm.ROWS, *rows_logs.ROWS, *rows_hardware.ROWS, *rows_envelopes.ROWS]
__all__ = ["no_pauses"]


@pytest.mark.parametrize(("run", "code"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_bad_input(run, code):
    if not code:
        run()
        return
    with pytest.raises(Rejected) as caught:
        run()
    assert caught.value.reason == code, str(caught.value)


@pytest.mark.parametrize(
    ("run", "kind", "response"), [row[1:] for row in rows_chips.ROWS], ids=[row[0] for row in rows_chips.ROWS]
)
def test_bad_answer(run, kind, response):
    if kind is None:
        run()
        return
    with pytest.raises(TpmError) as caught:
        run()
    assert type(caught.value) is kind
    assert caught.value.response == response


def test_no_row_stands_twice():
    assert [name for name, count in Counter(row[0] for row in [*ROWS, *rows_chips.ROWS]).items() if count > 1] == []
