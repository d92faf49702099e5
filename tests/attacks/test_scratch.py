"""Ordinary Python works on files of a guest's own where it has any, says why where it has none, and reaches nobody else's."""

import fcntl
import os
from pathlib import Path

import pytest

from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.messages import values
from propolis.terms.capability import Rung
from propolis.terms.errors import ExecutorError
from propolis.testing.executor import Owner

ORDINARY = {
    "tempfile": """
    with tempfile.TemporaryDirectory() as folder:
        with tempfile.NamedTemporaryFile(dir=folder) as file, tempfile.TemporaryFile() as nameless:
            file.write(b'x'); nameless.write(b'y')
            file.flush()
            return os.path.getsize(file.name)
""",
    "shutil_copy": """
    path = tempfile.mkdtemp()
    with open(path + '/a', 'w') as file: file.write('abc')
    os.chmod(path + '/a', 0o640)
    os.utime(path + '/a', (1000, 1000))
    shutil.copy(path + '/a', path + '/b'); shutil.copy2(path + '/a', path + '/c'); shutil.copytree(path, path + '/d/e')
    found = [(oct(os.stat(path + n).st_mode)[-3:], int(os.stat(path + n).st_mtime)) for n in ('/c', '/d/e/a')]
    shutil.move(path + '/b', path + '/d/b')
    shutil.rmtree(path)
    return found == [('640', 1000)] * 2
""",
    "pathlib": """
    path = Path('own'); path.mkdir(); file = path / 'x'; file.touch(); file.touch(); file.write_text('abc')
    os.truncate(file, 1); other = Path('/tmp/other'); other.mkdir(exist_ok=True)
    (path / 'sub').mkdir(); os.replace(file, path / 'sub' / 'y')
    return (path / 'sub' / 'y').read_text() == 'a'
""",
    "locks": """
    import fcntl
    with open('/tmp/lock', 'w') as file, open('/tmp/lock') as again:
        fcntl.flock(file, fcntl.LOCK_EX); fcntl.flock(file, fcntl.LOCK_UN)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB); fcntl.lockf(file, fcntl.LOCK_UN)
    return True
""",
    "sqlite": """
    import sqlite3
    for mode in ('DELETE', 'WAL'):
        base = sqlite3.connect('/tmp/%s.db' % mode)
        base.execute('PRAGMA journal_mode=' + mode)
        base.execute('CREATE TABLE t (x)')
        with base: base.executemany('INSERT INTO t VALUES (?)', [(n,) for n in range(1000)])
        other = sqlite3.connect('/tmp/%s.db' % mode)
        assert other.execute('SELECT sum(x) FROM t').fetchone() == (499500,)
        base.close(); other.close()
    return True
""",
    "numpy": """
    import numpy as np
    np.save('a.npy', np.arange(1000)); np.savez_compressed('a.npz', x=np.ones(10)); np.savetxt('a.txt', np.ones(3))
    mapped = np.memmap('m', dtype=np.float32, mode='w+', shape=(100,)); mapped[:] = 2; mapped.flush()
    return int(np.load('a.npy', mmap_mode='r').sum()) == 499500 and np.load('a.npz')['x'].sum() == 10
""",
    "archives": """
    import tarfile, zipfile
    Path('t').mkdir(); Path('t/x').write_text('abc')
    shutil.make_archive('out', 'zip', 't'); shutil.make_archive('out', 'gztar', 't')
    shutil.unpack_archive('out.zip', 'u'); shutil.unpack_archive('out.tar.gz', 'v')
    return Path('u/x').read_text() == Path('v/x').read_text() == 'abc'
""",
    "logging": """
    import logging, logging.handlers
    handler = logging.handlers.RotatingFileHandler('log', maxBytes=100, backupCount=2)
    log = logging.getLogger('job'); log.addHandler(handler)
    for n in range(50): log.warning('line %d', n)
    return sorted(os.listdir('.'))[:3] == ['log', 'log.1', 'log.2']
""",
    "joblib": """
    import joblib
    memory = joblib.Memory('cache', verbose=0)
    square = memory.cache(lambda_free)
    joblib.dump({'a': [1, 2]}, 'd.joblib')
    return square(3) == square(3) == 9 and joblib.load('d.joblib') == {'a': [1, 2]}
""",
    "pandas": """
    import pandas
    pandas.DataFrame({'a': [1, 2]}).to_csv('t.csv'); return len(pandas.read_csv('t.csv')) == 2
""",
}  # fmt: skip
PRELUDE = """
import os, shutil, sys, tempfile
from pathlib import Path

def lambda_free(x):
    return x * x

def main(x):
    os.chdir(tempfile.mkdtemp())
"""
OPTIONAL = {"joblib", "pandas"}

RUNGS = [Rung.NAMESPACES, Rung.FLAT]


async def on(rung):
    executor = SandboxExecutor(warm=False)
    try:
        executor._reached = await executor._canary(rung)
    except ExecutorError as error:
        await executor.close()
        pytest.skip(f"not reached here: {error}")
    return executor


@pytest.mark.parametrize("name", ORDINARY)
async def test_ordinary_code_works_on_files_of_the_guests_own(name):
    if name in OPTIONAL:
        pytest.importorskip(name)
    executor = await on(Rung.NAMESPACES)
    (outcome,) = await Owner(PRELUDE + ORDINARY[name], memory_mb=512, task_seconds=30).run(executor, [None])
    await executor.close()
    assert outcome.ok, outcome.error
    assert values.decode(outcome.value)


@pytest.mark.parametrize("name", ["tempfile", "sqlite", "shutil_copy"])
async def test_without_namespaces_the_error_says_that_there_are_no_files(name):
    executor = await on(Rung.FLAT)
    source = "import os, shutil, sys, tempfile\nfrom pathlib import Path\ndef main(x):\n" + ORDINARY[name]
    (outcome,) = await Owner(source, memory_mb=512, task_seconds=30).run(executor, [None])
    await executor.close()
    assert not outcome.ok
    assert "a guest has no folder of its own" in outcome.error


async def test_an_ordinary_error_is_not_blamed_on_the_machine():
    executor = await on(Rung.FLAT)
    (outcome,) = await Owner("def main(x):\n    return 1 // x\n").run(executor, [0])
    await executor.close()
    assert "folder of its own" not in outcome.error


LOCKER = """
import fcntl, os
def main(path):
    held = open(path)
    said = []
    for take in (lambda: fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB),
                 lambda: fcntl.lockf(held, fcntl.LOCK_SH | fcntl.LOCK_NB),
                 lambda: fcntl.fcntl(held, 37, b'\\0' * 32)):
        try:
            take(); said.append('granted')
        except OSError as error:
            said.append(error.errno)
    globals()['kept'] = held
    return said
"""


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
async def test_no_guest_holds_a_lock_on_a_file_of_the_runtime(rung):
    """The runtime's files are the host's: a lock on one would stop whoever locks it outside, or carry words between guests."""
    executor, path = await on(rung), os.path.realpath(os.__file__)
    owner = Owner(LOCKER)
    guest, order = await owner.ready(executor)
    await guest.run([owner.sealed(0, path)])
    (output,) = await guest.outputs()
    said = values.decode(owner.opened(order, output).value)
    assert said == (["granted"] * 3 if rung is Rung.NAMESPACES else [1, 1, 1])
    with open(path, "rb+" if os.access(path, os.W_OK) else "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(file, (fcntl.LOCK_EX if file.writable() else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    await guest.kill()
    await executor.close()


async def test_scratch_is_the_guests_alone_and_gone_with_it():
    executor = await on(Rung.NAMESPACES)
    source = "import os\ndef main(x):\n    found = os.listdir('/tmp') + os.listdir('/job')\n    open('/tmp/mine', 'w').close()\n    return found\n"
    for _ in range(2):
        (outcome,) = await Owner(source).run(executor, [None])
        assert "mine" not in values.decode(outcome.value), outcome.error
    assert not Path("/tmp/mine").exists()
    await executor.close()
