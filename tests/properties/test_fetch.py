"""Fetching from holders of every kind, in virtual time: one honest holder is enough, however slow its line or bad the others."""

import heapq
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propolis.messages import blobs as say
from propolis.messages import codec
from propolis.protocols.blobs import fetch as f
from propolis.protocols.machine import TimePassed

CHUNKS = 12
DATA = [bytes([n]) * (say.CHUNK if n < CHUNKS - 1 else 77) for n in range(CHUNKS)]
MANIFEST = say.Manifest(size=sum(map(len, DATA)), chunks=tuple(map(say.chunk_name, DATA)))
RAW, REF = codec.encode(MANIFEST), say.ref_of(MANIFEST)


class World:
    """Holders as (kind, seconds per chunk): each answers in order, one thing at a time, as a stream does."""

    def __init__(self, holders, kept=()):
        self.holders = {bytes([n + 1]) * 32: holder for n, holder in enumerate(holders)}
        self.machine = f.BlobFetch(REF, RAW if kept else None, set(kept), self.holders)
        self.now, self.heap, self.order = 0.0, [], itertools.count()
        self.busy = dict.fromkeys(self.holders, 0.0)
        self.served = dict.fromkeys(self.holders, 0)
        self.kept, self.asked, self.end = {}, 0, None
        for name in self.holders:
            self.at(0.01, f.HolderFound(name))

    def at(self, when, event):
        heapq.heappush(self.heap, (when, next(self.order), event))

    def run(self, until=2000.0):
        while self.end is None and self.now < until:
            due = self.machine.deadline()
            if self.heap and (due is None or self.heap[0][0] <= due):
                self.now, _, event = heapq.heappop(self.heap)
            elif due is not None:
                assert due >= self.now
                self.now, event = due, TimePassed()
            else:
                return
            for action in self.machine.handle(event, self.now):
                self.do(action)
            self.machine.check()

    def do(self, action):
        match action:
            case f.KeepChunk(number=number, data=data):
                assert number not in self.kept
                self.kept[number] = data
            case f.AskManifest(holder=name):
                self.answer(name, lambda good: f.ManifestArrived(name, RAW if good else RAW[:-1]), 0.05)
            case f.AskChunk(holder=name, number=number):
                self.asked += 1
                self.answer(
                    name,
                    lambda good: f.ChunkArrived(name, number, DATA[number] if good else b"x"),
                    self.holders[name][1],
                )
            case f.Finished() | f.Failed():
                self.end = action

    def answer(self, name, event, seconds):
        kind, _ = self.holders[name]
        self.served[name] += 1
        if kind == "mute" or (kind == "mute later" and self.served[name] > 3):
            return
        self.busy[name] = max(self.busy[name], self.now) + seconds
        if kind == "dies" and self.served[name] > 3:
            self.at(self.busy[name], f.HolderLost(name))
        else:
            self.at(self.busy[name], event(kind != "lies" or self.served[name] <= 2))


BAD = st.tuples(st.sampled_from(["mute", "mute later", "lies", "dies"]), st.floats(0.01, 20.0))
HONEST = st.tuples(st.just("honest"), st.floats(0.01, 25.0))


@settings(deadline=None)
@given(st.lists(BAD, max_size=4), HONEST, st.integers(0, 4), st.sets(st.integers(0, CHUNKS - 1), max_size=CHUNKS - 1))
def test_one_honest_holder_is_enough(bad, honest, place, kept):
    world = World([*bad[:place], honest, *bad[place:]], kept)
    world.run()
    assert isinstance(world.end, f.Finished)
    assert {n: DATA[n] for n in range(CHUNKS) if n not in kept} == world.kept
    assert world.now < 40 + (CHUNKS + 4) * honest[1] + 3 * f.STALL_SECONDS


@pytest.mark.parametrize("seconds", [0.1, 3.0, 25.0])
def test_a_slow_line_is_asked_for_nothing_twice(seconds):
    world = World([("honest", seconds)])
    world.run()
    assert isinstance(world.end, f.Finished)
    assert world.asked == CHUNKS
    assert world.now < 1 + CHUNKS * seconds + 0.1


def test_a_mute_holder_delays_a_fetch_by_moments():
    world = World([("mute later", 0.1), ("honest", 0.1), ("mute later", 0.1)])
    world.run()
    assert isinstance(world.end, f.Finished)
    assert world.now < 4 * f.CHUNK_SECONDS


@settings(deadline=None)
@given(st.lists(BAD, min_size=1, max_size=4))
def test_without_an_honest_holder_it_ends_and_says_why(bad):
    world = World(bad)
    world.run()
    assert world.end is not None
    if isinstance(world.end, f.Failed):
        assert "no holder is left" in world.end.reason
    assert all(data == DATA[number] for number, data in world.kept.items())


def test_each_holder_is_asked_for_four_chunks_at_a_time_and_for_different_ones():
    """docs/specs/blob.md, step 3: a line is never idle between two chunks, and holders share the work."""
    machine = f.BlobFetch(REF, RAW, {0}, HOLDERS := [b"a" * 32, b"b" * 32])
    asked = [action for name in HOLDERS for action in machine.handle(f.HolderFound(name), 0.0)]
    by_holder = {name: [a.number for a in asked if isinstance(a, f.AskChunk) and a.holder == name] for name in HOLDERS}
    assert [len(numbers) for numbers in by_holder.values()] == [4, 4]
    assert len({number for numbers in by_holder.values() for number in numbers} - {0}) == 8
