"""Frames of the guest pipe: whole whatever the pieces they come in, bounded, and large ones without copies."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propolis.adapters.executor.pipes import PIPE_BYTES
from propolis.adapters.executor.process import ProcessGuest
from propolis.messages.guest import Batch, Frames, Tag, batch_frame, batch_segments, frame, open_batch, piece_frame
from propolis.ports.executor import GuestOrder, TaskInput
from propolis.terms.errors import MalformedMessage
from propolis.terms.job import Kind, Needs

PAYLOADS = st.lists(st.tuples(st.sampled_from(list(Tag)), st.binary(max_size=40)), max_size=8)


@given(PAYLOADS, st.data())
def test_frames_are_whole_whatever_pieces_they_come_in(payloads, data):
    stream = b"".join(frame(tag, payload) for tag, payload in payloads)
    reader, found, start = Frames(), [], 0
    while start < len(stream):
        step = data.draw(st.integers(1, len(stream) - start))
        found += reader.feed(stream[start : start + step])
        start += step
    assert [(tag, bytes(payload)) for tag, payload in found] == payloads


def test_a_frame_that_ends_with_the_data_is_a_view_that_nothing_later_changes():
    reader = Frames()
    stream = frame(Tag.TASKS, b"a" * 100_000)
    assert reader.feed(stream[:70_000]) == []
    ((_, payload),) = reader.feed(stream[70_000:])
    assert isinstance(payload, memoryview)
    reader.feed(frame(Tag.TASKS, b"b" * 100_000))
    assert bytes(payload) == b"a" * 100_000


def test_a_length_out_of_bounds_is_refused_before_anything_is_waited_for():
    for length in (0, 101, 2**32 - 1):
        with pytest.raises(MalformedMessage):
            Frames(limit=100).feed(length.to_bytes(4, "big"))


def test_segments_are_the_frame_and_bodies_are_not_copied():
    bodies = [b"x" * 10, memoryview(b"y" * 5), b""]
    head = Batch(indices=(0, 1, 2), attempts=(1, 2, 3), sizes=(10, 5, 0))
    segments = batch_segments(Tag.TASKS, head, bodies)
    assert all(segment is body for segment, body in zip(segments[1:], bodies, strict=True))
    ((tag, payload),) = Frames().feed(batch_frame(Tag.TASKS, head, bodies))
    assert tag is Tag.TASKS
    assert open_batch(payload) == (head, bodies)
    assert b"".join(piece_frame(b"piece")) == frame(Tag.PIECE, b"piece")


class Recorded:
    """Pipes that keep what they are given."""

    def __init__(self):
        self.frames = []

    def write(self, *segments):
        self.frames += Frames().feed(b"".join(segments))


def test_a_frame_of_several_tasks_takes_half_the_pipe_at_most():
    """So that the next one lies there whole while a guest computes, and it never waits for one to come through."""
    order = GuestOrder(job=bytes(16), guest=bytes(16), owner=bytes(32), kind=Kind.FUNCTION, needs=Needs(), slot=0)
    pipes = Recorded()
    guest = ProcessGuest(pipes, 1, order, lambda: None)
    sizes = [200_000] * 7 + [3_000_000] + [10] * 5
    asyncio.run(guest.run([TaskInput(index=n, attempt=n, sealed=bytes(size)) for n, size in enumerate(sizes)]))
    batches = [open_batch(payload)[0] for _, payload in pipes.frames]
    assert [index for batch in batches for index in batch.indices] == list(range(len(sizes)))
    assert all(sum(batch.sizes) <= PIPE_BYTES // 2 or len(batch.sizes) == 1 for batch in batches)
    assert len(batches) < 7
