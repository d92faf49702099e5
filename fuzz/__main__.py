"""`python -m fuzz [NAME ...]`: all targets, or those whose name begins so. Ends with 1 when anything untyped escaped.

FUZZ_N: mutations per parser, 1000 where nothing is said. FUZZ_SEED: other dice. FUZZ_ONE: only the mutation of this number.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fuzz import campaign
from fuzz.targets import TARGETS

SEED = 20261125
BUILD = Path("build")


def chosen(names: Sequence[str]) -> list[str]:
    """Return the targets that are meant."""
    return [name for name in TARGETS if not names or name.startswith(tuple(names))]


def main(names: Sequence[str]) -> int:
    """Run, print, write; return the exit status."""
    count, seed = int(os.environ.get("FUZZ_N", "1000")), int(os.environ.get("FUZZ_SEED", str(SEED)))
    one = os.environ.get("FUZZ_ONE")
    wanted = chosen(names)
    if not wanted:
        sys.stderr.write(f"no parser is called that; there are {', '.join(TARGETS)}\n")
        return 2
    sys.stdout.write(f"seed {seed}, {count} mutations per parser\n")
    sys.stdout.write(f"{'parser':<34}{'tried':>9}{'refused':>9}{'taken':>8}{'escapes':>9}{'slowest ms':>12}\n")
    results = []
    for name in wanted:
        found = campaign.run(TARGETS[name], count, seed, BUILD / "fuzz", [int(one)] if one else None)
        results.append(found)
        line = f"{name:<34}{found.mutations:>9}{found.rejections:>9}{found.accepted:>8}{found.escapes:>9}"
        sys.stdout.write(f"{line}{found.slowest_ms:>12.1f}  {found.first_escape}\n")
        sys.stdout.flush()
    escapes = sum(found.escapes for found in results)
    tried = sum(found.mutations for found in results)
    sys.stdout.write(f"{len(results)} parsers, {tried} mutations tried, untyped escapes: {escapes}\n")
    record = {
        "command": "make fuzz",
        "seed": seed,
        "mutations_per_parser": count,
        "mutations": tried,
        "escapes": escapes,
    }
    BUILD.mkdir(exist_ok=True)
    rows = [msgspec.to_builtins(found) for found in results]
    (BUILD / "fuzz.json").write_text(json.dumps({**record, "parsers": rows}, indent=2) + "\n")
    return 1 if escapes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
