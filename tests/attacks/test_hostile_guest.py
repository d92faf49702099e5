"""A guest that got hold of its own end and says what no guest says: it is ended, and its agent hears of a crash."""

import asyncio
import os

import msgspec
import pytest

from propolis.adapters.executor import process
from propolis.adapters.executor.pipes import GuestPipes
from propolis.adapters.executor.process import ProcessGuest
from propolis.messages import codec, guest
from propolis.ports.executor import GuestOrder, TaskInput
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import Crashed, Overran, SealBroken
from propolis.terms.job import Kind, Needs

ORDER = GuestOrder(job=bytes(16), guest=bytes(16), owner=bytes(32), kind=Kind.FUNCTION, needs=Needs(), slot=0)
WALLED = Isolation(rung=Rung.NAMESPACES)
BORN = guest.frame(guest.Tag.KEY, codec.encode(guest.Born(key=b"k" * 32, isolation=WALLED)))


class Staged:
    """The agent's handle of a guest whose words we write."""

    def __init__(self):
        self.pipes, self.ended, self.order = GuestPipes(), 0, ORDER

    async def end(self):
        self.ended += 1

    def says(self, data):
        os.write(self.pipes.theirs[1], data)

    async def begin(self):
        return await ProcessGuest.begin(self.pipes, 1, self.order, self.end)


@pytest.mark.parametrize(
    "born",
    [
        codec.encode((b"short", WALLED)),
        codec.encode((b"k" * 33, WALLED)),
        codec.encode((b"k" * 32, [3, 0, "x" * 1000])),
        codec.encode((b"k" * 32, [3, -1])),
        codec.encode({}),
        b"\xff" * 40,
    ],
)
async def test_a_birth_that_is_none_ends_the_guest(born):
    staged = Staged()
    staged.says(guest.frame(guest.Tag.KEY, born))
    with pytest.raises(Crashed, match="nonsense"):
        await staged.begin()
    assert staged.ended


@pytest.mark.parametrize(
    "words",
    [
        guest.frame(guest.Tag.BROKEN, codec.encode(("c" * 61, "reason"))),
        guest.frame(guest.Tag.BROKEN, codec.encode(("code", "r" * 1001))),
        guest.frame(guest.Tag.BROKEN, codec.encode(("code", "reason", -2, 0))),
        guest.frame(guest.Tag.RESULTS, bytes(4)),
        *(
            guest.frame(guest.Tag.RESULTS, len(head).to_bytes(4, "big") + head + b"r")
            for head in (
                codec.encode(([2**40], [1], [1], [1.0])),
                codec.encode(([0], [2**63], [1], [1.0])),
                codec.encode(([0], [1], [1], [float("nan")])),
                codec.encode(([0], [1], [1], [-1.0])),
                codec.encode(([0], [1], [2], [1.0])),
                codec.encode(([0] * 4097, [1] * 4097, [0] * 4096 + [1], [])),
            )
        ),
    ],
)
async def test_results_and_complaints_out_of_bounds_end_the_guest(words):
    staged = Staged()
    staged.says(BORN)
    handle = await staged.begin()
    await handle.run([TaskInput(index=0, attempt=1, sealed=b"sealed")])
    staged.says(words)
    with pytest.raises(Crashed, match="nonsense"):
        await handle.outputs()
    assert staged.ended


def results(*pairs):
    head = guest.Batch(indices=[p[0] for p in pairs], attempts=[p[1] for p in pairs], sizes=[1] * len(pairs))
    return guest.batch_frame(guest.Tag.RESULTS, head, [b"r"] * len(pairs))


@pytest.mark.parametrize(
    "words",
    [
        results(),
        results((0, 2)),
        results((1, 1)),
        results((0, 1), (0, 1)),
        results((0, 1), (1, 2), (2, 3)),
        results((1, 2), (0, 1)),
        guest.frame(guest.Tag.LOADED, codec.encode(guest.Loaded(isolation=WALLED))),
    ],
)
async def test_results_that_nobody_asked_for_end_the_guest(words):
    staged = Staged()
    staged.says(BORN)
    handle = await staged.begin()
    await handle.run([TaskInput(index=n, attempt=n + 1, sealed=b"sealed") for n in range(2)])
    staged.says(words)
    with pytest.raises(Crashed):
        await handle.outputs()
    assert staged.ended == 1
    await handle.kill()
    assert staged.ended == 1, "its number may be another's by now"


async def test_what_is_asked_for_is_taken_and_the_time_limit_is_not_moved_by_anything_else():
    staged = Staged()
    staged.says(BORN)
    handle = await staged.begin()
    await handle.run([TaskInput(index=n, attempt=n + 1, sealed=b"sealed") for n in range(2)])
    staged.says(results((0, 1)))
    assert [output.index for output in await handle.outputs()] == [0]
    moved = handle._moved
    staged.says(results())
    with pytest.raises(Crashed):
        await handle.outputs()
    assert handle._moved == moved


async def test_a_loaded_guest_is_believed_about_nothing_but_its_lock():
    for kind, believed in ((Kind.FUNCTION, False), (Kind.INFERENCE, True)):
        staged = Staged()
        staged.order = msgspec.structs.replace(ORDER, kind=kind)
        staged.says(BORN)
        handle = await staged.begin()
        grand = Isolation(rung=Rung.NAMESPACES, lock=True, own_uid=True, memory_mb=1, notes=("hardened",))
        staged.says(guest.frame(guest.Tag.LOADED, codec.encode(guest.Loaded(isolation=grand))))
        await handle.load(b"sealed")
        assert handle.isolation == msgspec.structs.replace(WALLED, lock=believed)
        await handle.kill()


async def test_loading_has_a_time_limit_of_the_jobs_own(monkeypatch):
    monkeypatch.setattr(process, "LOAD_SECONDS", 0.05)
    staged = Staged()
    staged.order = msgspec.structs.replace(ORDER, needs=Needs(task_seconds=0.05))
    staged.says(BORN)
    handle = await staged.begin()
    with pytest.raises(Overran):
        await handle.load(b"sealed")
    assert staged.ended == 1


async def test_a_cancelled_wait_ends_the_guest():
    staged = Staged()
    staged.says(BORN)
    handle = await staged.begin()
    waiting = asyncio.create_task(handle.outputs())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert staged.ended == 1


async def test_a_guests_last_words_leave_the_machine_before_the_grant_only():
    staged = Staged()
    os.write(staged.pipes.theirs[2], b"no such library\n")
    staged.pipes.given()  # its ends are closed: it is gone
    with pytest.raises(Crashed, match="no such library"):
        await staged.begin()


@pytest.mark.parametrize("step", ["grant", "load"])
async def test_what_a_program_prints_before_it_answers_is_in_no_reason(step):
    staged = Staged()
    staged.says(BORN)
    found = await staged.begin()
    if step == "load":
        staged.says(guest.frame(guest.Tag.GRANTED))
        await found.grant(b"sealed")
    os.write(staged.pipes.theirs[2], b"PLAINTEXT of the owner\n")
    staged.pipes.given()  # its ends are closed: it is gone
    with pytest.raises(Crashed) as raised:
        await (found.grant(b"sealed") if step == "grant" else found.load(b"program"))
    assert "PLAINTEXT" not in str(raised.value)


@pytest.mark.parametrize("step", ["load", "task"])
async def test_a_program_that_complains_in_its_guests_name_is_not_quoted(step):
    staged = Staged()
    staged.says(BORN)
    found = await staged.begin()
    staged.says(guest.frame(guest.Tag.GRANTED))
    await found.grant(b"sealed")
    words = guest.Broken(code=SealBroken.code, reason="PLAINTEXT of the owner", index=777, attempt=1)
    staged.says(guest.frame(guest.Tag.BROKEN, codec.encode(words)))
    await found.run([TaskInput(index=0, attempt=1, sealed=b"x")])
    with pytest.raises(SealBroken) as raised:
        await (found.load(b"program") if step == "load" else found.outputs())
    assert "PLAINTEXT" not in str(raised.value)
    assert "777" not in str(raised.value), "nor a number it chose"
