"""No-op tasks end to end over the real wire, encrypted, in the sandbox; beside Ray and Dask on the same machine, in turn.

CPU per task counts every process that dispatches: for Propolis the orchestrator and the node agent; the sandboxed guest and
the owner's client (which seals and opens) are given separately. Ray dispatches in the driver and the workers, so its fair
counterpart is the total: every process of its cluster and the driver; total_cpu_ms_per_task is that for us too. Dask: every
process of its cluster and the client. Guests' CPU is sampled ten times a second and may miss a guest's last tenth.
"""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.report import cpu_seconds, descendants, row, write
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits

TASKS = 20_000
ROUNDS = 3


def noop(x):
    return None


def propolis_rounds():
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        limits = [NodeLimits(name="node-1", slots=1), NodeLimits(name="node-2", slots=1)]
        with LocalFleet(Path(folder), limits) as local, Fleet(local.home) as fleet:
            fleet.map(noop, range(500), privacy="trusted-lenders")
            agents = [local.orchestrator.pid, *(process.pid for process in local.nodes.values())]
            for _ in range(ROUNDS):
                inputs = list(range(TASKS))
                own = time.process_time()
                before, started = cpu_seconds(agents), time.perf_counter()
                job = fleet.submit_map(noop, inputs, privacy="trusted-lenders")
                guests, peak = {}, 0.0
                while job.wait(timeout=0.1) != "done":
                    for agent in agents[1:]:
                        for pid in descendants(agent):
                            try:
                                guests[pid] = cpu_seconds([pid])
                            except OSError:
                                continue
                wall = time.perf_counter() - started
                peak = sum(guests.values())
                sample = {
                    "cpu_ms": (cpu_seconds(agents) - before) * 1e3 / TASKS,
                    "owner_ms": (time.process_time() - own) * 1e3 / TASKS,
                    "guest_ms": peak * 1e3 / TASKS,
                }
                samples.append({**sample, "total_ms": sum(sample.values()), "rate": TASKS / wall})
                assert len(job.results()) == TASKS
    return samples


def ray_rounds():
    import os

    import ray

    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False, configure_logging=False)
    remote = ray.remote(num_cpus=1)(noop)
    ray.get([remote.remote(n) for n in range(500)])
    samples = []
    for _ in range(ROUNDS):
        pids = descendants(os.getpid())
        workers = {pid for pid in pids if b"ray::" in Path(f"/proc/{pid}/cmdline").read_bytes()}
        system = pids - workers
        everyone = [*pids, os.getpid()]
        before, total, started = cpu_seconds(system), cpu_seconds(everyone), time.perf_counter()
        ray.get([remote.remote(n) for n in range(TASKS)])
        wall = time.perf_counter() - started
        samples.append({
            "cpu_ms": (cpu_seconds(system) - before) * 1e3 / TASKS,
            "total_ms": (cpu_seconds(everyone) - total) * 1e3 / TASKS,
            "rate": TASKS / wall,
        })  # fmt: skip
    ray.shutdown()
    return samples


def dask_rounds():
    from distributed import Client, LocalCluster

    samples = []
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        import os

        client.gather(client.map(noop, range(500), pure=False))
        for _ in range(ROUNDS):
            workers = descendants(os.getpid())
            before, started = cpu_seconds([*workers, os.getpid()]), time.perf_counter()
            client.gather(client.map(noop, range(TASKS // 4), pure=False))
            wall = time.perf_counter() - started
            used = cpu_seconds([*workers, os.getpid()]) - before
            samples.append({"cpu_ms": used * 1e3 / (TASKS // 4), "rate": TASKS // 4 / wall})
    return samples


def peer(rounds):
    try:
        return rounds()
    except ImportError as error:
        print(f"not measured: {error}")
        return []


def median(samples, key):
    return round(statistics.median(sample[key] for sample in samples), 4) if samples else None


def spread(samples, key):
    return f"[{min(s[key] for s in samples):.3f}..{max(s[key] for s in samples):.3f}]"


def main():
    ours = propolis_rounds()
    ray, dask = peer(ray_rounds), peer(dask_rounds)
    print("cpu ms/task", spread(ours, "cpu_ms"), "tasks/s", spread(ours, "rate"))
    write("dispatch", [
        row("dispatch_cpu_ms_per_task", median(ours, "cpu_ms"), "ms", "<= 0.5", "dask (total)", median(dask, "cpu_ms")),
        row("total_cpu_ms_per_task", median(ours, "total_ms"), "ms", "", "ray (total)", median(ray, "total_ms")),
        row("dispatch_tasks_per_s_batched", round(median(ours, "rate")), "tasks/s", ">= 2000", "ray", median(ray, "rate")),
        row("dispatch_tasks_per_s_dask", median(dask, "rate"), "tasks/s", "", "dask", median(dask, "rate")),
        row("guest_cpu_ms_per_task", median(ours, "guest_ms"), "ms"),
        row("owner_cpu_ms_per_task", median(ours, "owner_ms"), "ms"),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
