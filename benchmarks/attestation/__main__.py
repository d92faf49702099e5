"""All figures of attestation in one run; CPU seconds of one core except for unsealing, which waits for an emulator."""

import sys

from benchmarks.attestation import others, pace, unseal
from benchmarks.attestation.quotes import CALLED, Quotes
from benchmarks.attestation.whole import Whole
from benchmarks.report import row, write
from propolis.terms.errors import TpmMissing

LEAST = {"snp": ">= 1000", "tdx": ">= 1200", "sgx": ">= 1200", "psa": ">= 10000"}


def spread(found: dict) -> str:
    return f"best {found['best']}, from {found['worst']}"


def told(metric: str, found: dict, unit: str, target: str = "", peer: str = "", peer_value=None) -> dict:
    """Return a row with its spread."""
    return {**row(metric, found["median"], unit, target, peer, peer_value), "spread": spread(found)}


def quotes() -> list[dict]:
    """Ours and Keylime's, turn by turn."""
    made = Quotes()
    contenders = {"ours": made.ours(), "known": made.ours_with_a_known_key()}
    theirs = made.keylimes()
    if theirs is not None:
        contenders["keylime"] = theirs
    times = pace.seconds(contenders)
    rates = {name: pace.rate(found) for name, found in times.items()}
    rows = [
        told("quote_verify_per_s_core", rates["ours"], "quotes/s", ">= 5000", CALLED, rates.get("keylime", {}).get("median")),
        told("quote_verify_known_key_per_s_core", rates["known"], "quotes/s"),
    ]  # fmt: skip
    if theirs is not None:
        rows.append(told("keylime_verify_per_s_core", rates["keylime"], "quotes/s"))
        ratio = sorted(b / a for a, b in zip(times["ours"], times["keylime"], strict=True))
        found = {"median": round(ratio[len(ratio) // 2], 3), "best": round(ratio[-1], 3), "worst": round(ratio[0], 3)}
        rows.append(told("ours_to_keylime_paired", found, "times"))
    return rows


def whole() -> list[dict]:
    """A whole appraisal."""
    made = Whole()
    found = pace.milliseconds(pace.seconds({"whole": made.appraisal()})["whole"])
    return [{**told("full_appraisal_ms", found, "ms", "<= 6"), "inputs": f"{made.origin}: {made.sizes}"}]


def unsealing() -> list[dict]:
    """On swtpm, where it is installed."""
    try:
        with unseal.Machine() as machine:
            found, tools = pace.milliseconds(unseal.ours(machine)), unseal.tools(machine)
    except (FileNotFoundError, TpmMissing) as error:
        sys.stdout.write(f"unseal_ms_swtpm not measured: {error}\n")
        return []
    peer = pace.milliseconds(tools)["median"] if tools else None
    return [told("unseal_ms_swtpm", found, "ms", "<= 5", "tpm2-tools" if peer else "", peer)]


def verifications() -> list[dict]:
    """The other technologies, turn by turn."""
    times = pace.seconds(others.contenders())
    rates = {name: pace.rate(found) for name, found in times.items()}
    return [told(f"{name}_verify_per_s_core", found, "per s", LEAST.get(name, "")) for name, found in rates.items()]


def main() -> None:
    rows = [*quotes(), *whole(), *unsealing(), *verifications()]
    write("attestation", rows)
    for each in rows:
        sys.stdout.write(f"  {each['metric']}: {each['spread']}{'; ' + each['inputs'] if 'inputs' in each else ''}\n")


if __name__ == "__main__":
    main()
