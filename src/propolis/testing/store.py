"""What every store must do. `open_store` returns a fresh store each time; `reopen` the same one after a close, or None."""

from collections.abc import Callable

from propolis.ports.store import Drop, DropPrefix, Put, Store

Open = Callable[[], Store]


def keeps_what_is_put(open_store: Open) -> None:
    """Rows come back by key, in key order, table by table."""
    store = open_store()
    store.commit([Put("a", b"2", b"two"), Put("a", b"1", b"one"), Put("b", b"1", b"other"), Put("a", b"\xff", b"last")])
    assert store.get("a", b"1") == b"one"
    assert store.get("b", b"1") == b"other"
    assert store.get("c", b"1") is None
    assert list(store.scan("a")) == [(b"1", b"one"), (b"2", b"two"), (b"\xff", b"last")]
    assert store.get_many("a", [b"2", b"9", b"1"]) == [b"two", None, b"one"]
    assert list(store.sizes("a")) == [(b"1", 3), (b"2", 3), (b"\xff", 4)]


def replaces_and_drops(open_store: Open) -> None:
    """A later write wins; drops of what is not there are no error."""
    store = open_store()
    store.commit([Put("a", b"k", b"old"), Put("a", b"k", b"new"), Drop("a", b"x")])
    assert store.get("a", b"k") == b"new"
    store.commit([Drop("a", b"k")])
    assert store.get("a", b"k") is None


def scans_by_prefix(open_store: Open) -> None:
    """A prefix selects exactly the keys that start with it."""
    store = open_store()
    store.commit([Put("a", key, b"v") for key in (b"j1", b"j1\x00", b"j1\xff\xff", b"j2", b"j")])
    assert [key for key, _ in store.scan("a", b"j1")] == [b"j1", b"j1\x00", b"j1\xff\xff"]
    store.commit([DropPrefix("a", b"j1")])
    assert [key for key, _ in store.scan("a")] == [b"j", b"j2"]


def takes_large_values(open_store: Open) -> None:
    """Eight megabytes in one row, and memoryviews, survive."""
    store = open_store()
    big = bytes(range(256)) * 32768
    store.commit([Put("a", b"big", memoryview(big))])
    assert store.get("a", b"big") == big


def says_how_much_room_is_left(open_store: Open) -> None:
    """`room` is a number of bytes."""
    assert open_store().room() > 0


SUITE = (keeps_what_is_put, replaces_and_drops, scans_by_prefix, takes_large_values, says_how_much_room_is_left)
