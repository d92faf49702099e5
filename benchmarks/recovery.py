"""At least 100 kills of nodes, guests and orchestrators under a running job: how soon noticed, how soon restarted, what lost.

detect: from kill -9 to the orchestrator's word in the job's story that the node or guest is gone. restart: from that word to
the one that its tasks run again elsewhere, by the orchestrator's clock (10 ms). Every result of every job is compared.
"""

import os
import random
import re
import signal
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.report import descendants, row, write
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits

NODE_KILLS = int(os.environ.get("NODE_KILLS", "12"))
GUEST_KILLS = int(os.environ.get("GUEST_KILLS", "80"))
HUB_KILLS = int(os.environ.get("HUB_KILLS", "8"))
AGAIN, CRASHED = "lost tasks run again", "ended: executor.crashed"
NAMES = [f"node-{n}" for n in range(4)]


def work(x):
    import time

    time.sleep(0.05)
    return x + 1


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Bench:
    def __init__(self, local, fleet):
        self.local, self.fleet = local, fleet
        self.dice = random.Random(1)
        self.detect, self.restart = [], []
        self.lost = self.kills = 0

    def job(self, tasks):
        return self.fleet.submit_map(work, range(tasks), privacy="trusted-lenders", name="recovery")

    def story(self, job):
        found = []
        for event in self.fleet.explain(job.id).events:
            match = re.match(r"\s*([0-9.]+) s\s+(.*)", event)
            found.append((float(match.group(1)), match.group(2)))
        return found

    def wait_for(self, job, word, since, seconds=15):
        """Return the first new event with `word` after the `since` earlier ones, and how long it took to come."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            found = [event for event in self.story(job) if word in event[1]]
            if len(found) > since:
                return found[since], time.monotonic() - started
            time.sleep(0.01)
        raise AssertionError(f"no {word!r} within {seconds} s; the story's end: {self.story(job)[-20:]}")

    def count(self, job, word):
        return sum(word in text for _, text in self.story(job))

    def noticed(self, job, word, before, again, seconds=15):
        """Take both times of one kill. Returns False when no guest of the job was hit: nothing to notice."""
        try:
            (at, text), took = self.wait_for(job, word, before, seconds)
        except AssertionError:
            if seconds < 5:
                return False
            raise
        self.detect.append(took)
        self.kills += 1
        if "tasks go elsewhere" in text and "; 0 tasks" not in text:
            (restarted, _), _ = self.wait_for(job, AGAIN, again)
            self.restart.append(restarted - at)
        return True

    def settle(self, job, tasks):
        assert job.wait(timeout=120) == "done", (job.state(), job.reason())
        self.lost += sum(a != b + 1 for a, b in zip(job.results(), range(tasks), strict=True))

    def kill_node(self):
        job = self.job(400)
        while job.finished < 20:
            job.wait(timeout=0.05)
        name = self.dice.choice(NAMES)
        word = f"node {name} is lost"
        before, again = self.count(job, word), self.count(job, AGAIN)
        self.local.kill(name)
        self.noticed(job, word, before, again)
        self.settle(job, 400)
        self.local.start_node(NodeLimits(name=name))

    def kill_guests(self, count):
        tasks = 120 * count
        job = self.job(tasks)
        for _ in range(count):
            while job.state() == "running" and (not job.progress or job.progress.guests < 3):
                job.wait(timeout=0.05)
            name = self.dice.choice(NAMES)
            guests = [p for p in descendants(self.local.nodes[name].pid) if self.is_guest(p)]
            if job.finished > tasks - 50 or not guests:
                job.wait(timeout=0.2)
                continue
            before, again = self.count(job, CRASHED), self.count(job, AGAIN)
            os.kill(max(guests), signal.SIGKILL)
            self.noticed(job, CRASHED, before, again, seconds=3)
        self.settle(job, tasks)

    @staticmethod
    def is_guest(pid):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False
        return int(re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE).group(1)) >= 640_000 or "propolis.guest" in status

    def kill_hub(self):
        job = self.job(300)
        while job.finished < 20:
            job.wait(timeout=0.05)
        self.local.kill("orchestrator")
        self.kills += 1
        self.local.start_orchestrator()
        self.settle(job, 300)


def main():
    with tempfile.TemporaryDirectory() as folder:
        limits = [NodeLimits(name=name) for name in NAMES]
        with LocalFleet(Path(folder), limits) as local, Fleet(local.home) as fleet:
            bench = Bench(local, fleet)
            for _ in range(HUB_KILLS):
                bench.kill_hub()
            for _ in range(NODE_KILLS):
                bench.kill_node()
            while bench.kills < HUB_KILLS + NODE_KILLS + GUEST_KILLS:
                bench.kill_guests(10)
    write("recovery", [
        row("detect_s_p99", round(percentile(bench.detect, 0.99), 3), "s", "<= 6"),
        row("restart_s_p99", round(percentile(bench.restart, 0.99), 3), "s", "<= 2"),
        row("lost_results", bench.lost, "results", "== 0"),
        row("kills", bench.kills, "kills"),
        row("detect_s_median", round(statistics.median(bench.detect), 3), "s"),
        row("restart_s_median", round(statistics.median(bench.restart), 3), "s"),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
