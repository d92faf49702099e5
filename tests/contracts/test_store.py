"""Every store passes the same suite; the real one also survives a kill -9."""

import sqlite3
import subprocess
import sys

import pytest

from propolis.adapters.store.memory import MemoryStore
from propolis.adapters.store.sqlite import FORMAT, SqliteStore
from propolis.ports.store import Put
from propolis.terms.errors import ConfigError, StoreError, StoreFull
from propolis.testing import store as suite


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request, tmp_path):
    return (lambda: MemoryStore()) if request.param == "memory" else (lambda: SqliteStore(tmp_path / "state.db"))


@pytest.mark.parametrize("case", suite.SUITE, ids=lambda case: case.__name__)
def test_store(case, open_store):
    case(open_store)


def test_committed_rows_survive_a_kill(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from propolis.adapters.store.sqlite import SqliteStore\n"
        "from propolis.ports.store import Put\n"
        "store = SqliteStore(pathlib.Path(sys.argv[1]))\n"
        "for n in range(10**6):\n"
        "    store.commit([Put('a', n.to_bytes(4, 'big'), b'x'), Put('b', n.to_bytes(4, 'big'), b'y')])\n"
        "    print(n, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s.db")], stdout=subprocess.PIPE, text=True)
    for _ in range(300):
        last = int(child.stdout.readline())
    child.kill()
    child.wait()
    child.stdout.close()
    store = SqliteStore(tmp_path / "s.db")
    keys = [int.from_bytes(key, "big") for key, _ in store.scan("a")]
    assert keys[: last + 1] == list(range(last + 1))
    assert [key for key, _ in store.scan("a")] == [key for key, _ in store.scan("b")], "no half commit"


@pytest.mark.parametrize(("durable", "synchronous"), [(False, 1), (True, 2)])
def test_the_journal_is_a_write_ahead_log_and_an_owners_is_synced(tmp_path, durable, synchronous):
    """docs/adr/0013-who-syncs.md. A test cannot cut the power: it asks SQLite what it does. 1 = NORMAL, 2 = FULL."""
    store = SqliteStore(tmp_path / "s.db", durable=durable)
    store.commit([Put("a", b"k", b"v")])
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (synchronous,)
    assert (tmp_path / "s.db-wal").stat().st_size > 0
    store.close()


def test_two_processes_cannot_share_a_folder(tmp_path):
    first = SqliteStore(tmp_path / "s.db")
    with pytest.raises(ConfigError, match="in use"):
        SqliteStore(tmp_path / "s.db")
    first.close()


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "s.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="move it away"):
        SqliteStore(tmp_path / "s.db")


def test_rows_of_another_format_are_refused_and_left_as_they_are(tmp_path):
    SqliteStore(tmp_path / "s.db").close()
    for found in (0, FORMAT + 1):
        raw = sqlite3.connect(tmp_path / "s.db")
        raw.execute(f"PRAGMA user_version = {found}")
        raw.close()
        with pytest.raises(StoreError, match=f"format {found}.*move the file away"):
            SqliteStore(tmp_path / "s.db")
    raw = sqlite3.connect(tmp_path / "s.db")
    assert raw.execute("PRAGMA user_version").fetchone() == (FORMAT + 1,)
    raw.execute(f"PRAGMA user_version = {FORMAT}")
    raw.close()
    SqliteStore(tmp_path / "s.db").close()


def test_full_disk_refuses_the_commit_and_keeps_what_was_there():
    store = MemoryStore(capacity=100)
    store.commit([Put("a", b"1", bytes(60))])
    with pytest.raises(StoreFull):
        store.commit([Put("a", b"2", b"x"), Put("a", b"3", bytes(60))])
    assert list(store.scan("a")) == [(b"1", bytes(60))]
