"""Every executor passes the same suite: the sandbox for real, bare for real, and the stand-in."""

import pytest

from propolis.adapters.executor.bare import BareExecutor
from propolis.adapters.executor.rehearsed import RehearsedExecutor
from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.terms.capability import Rung
from propolis.terms.errors import Unsupported
from propolis.testing import executor as suite


async def sandbox():
    return SandboxExecutor(warm=False)


async def bare():
    return BareExecutor(i_accept_that_jobs_run_unconfined=True)


async def rehearsed():
    return RehearsedExecutor()


@pytest.mark.parametrize("make", [sandbox, bare, rehearsed])
@pytest.mark.parametrize("case", suite.SUITE, ids=lambda case: case.__name__)
async def test_executor(case, make):
    await case(make)


def test_bare_needs_its_ugly_word():
    with pytest.raises(Unsupported):
        BareExecutor()


async def test_the_rung_is_reached_by_doing_and_is_in_the_receipt():
    executor = SandboxExecutor(warm=False)
    reached = await executor.probe()
    assert reached.rung >= Rung.FLAT
    assert reached.landlock_abi >= 1
    assert reached.filter_hash
    guest, _ = await suite.Owner().ready(executor)
    assert guest.isolation.rung is reached.rung
    await guest.kill()
    await executor.close()


async def test_models_run_locked():
    from propolis.cli.demo import model, records
    from propolis.messages import values
    from propolis.terms.job import Kind

    executor = SandboxExecutor(warm=False)
    owner = suite.Owner(kind=Kind.INFERENCE, model=model())
    guest, order = await owner.ready(executor)
    assert guest.isolation.lock
    await guest.run([owner.sealed(0, {"X": records()[:5]})])
    (output,) = await guest.outputs()
    outcome = owner.opened(order, output)
    assert outcome.ok, outcome.error
    assert values.decode(outcome.value)["label"].shape == (5,)
    await guest.kill()
    await executor.close()


async def test_a_warm_guest_is_taken_and_replaced():
    executor = SandboxExecutor()
    await executor.probe()
    executor.warm(0)
    _, pid = await executor._warm[0]
    guest, _ = await suite.Owner().ready(executor)
    assert guest.pid == pid
    await guest.kill()
    executor.warm(0)
    _, other = await executor._warm[0]
    assert other != pid
    await executor.close()
