"""How every benchmark reports: a table for people, build/bench/NAME.json for the record."""

import json
import os
import platform
import sys
from pathlib import Path


def machine() -> str:
    """Return what this was measured on."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores {model}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def row(metric, value, unit, target="", peer="", peer_value=None):
    """Return one row."""
    return {"metric": metric, "value": value, "unit": unit, "target": target, "peer": peer, "peer_value": peer_value}


def write(name: str, rows: list[dict]) -> None:
    """Print the rows and write them."""
    record = {"command": f"make bench-{name}", "machine": machine(), "rows": rows}
    target = Path("build/bench")
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    sys.stdout.write(f"{record['machine']}\n")
    for item in rows:
        peer = f"   {item['peer']} {item['peer_value']}" if item["peer"] else ""
        sys.stdout.write(f"{item['metric']:<34} {item['value']:>12} {item['unit']:<10} {item['target']:<8}{peer}\n")


def cpu_seconds(pids) -> float:
    """Return user + system seconds of processes, from /proc; children are not counted."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def descendants(pid) -> set[int]:
    """Return all processes below one."""
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry))
    found, queue = set(), [pid]
    while queue:
        for child in children.get(queue.pop(), []):
            found.add(child)
            queue.append(child)
    return found
