"""Every parser that takes a stranger's bytes, by name. A new one is a line in its family's file."""

from fuzz import evidence, machines, readers, tpm, wire
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for family in (evidence, readers, tpm, wire, machines)
    for target in family.targets()
}  # fmt: skip
