"""Emulated TPMs for a local fleet, so that attestation can be tried where there is no chip, or none to spare.

Each node gets an swtpm of its own with an endorsement certificate under a test root made here, boots an image that is only a
name, and leaves the firmware's log of it. None of it is a hardware root: whoever owns the folder owns the keys. The default
policy refuses them all; only the one `policy` returns takes them, and says what it is in its name.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from propolis.adapters.tpm import rehearsal
from propolis.adapters.tpm.client import Tpm
from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.world.system import SystemEntropy
from propolis.crypto import x509

IMAGE = "rehearsed image"
ROOT_CERTIFICATE, ISSUER_CERTIFICATE = "swtpm-localca-rootca-cert.pem", "issuercert.pem"


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """How a rehearsed machine boots: which image; which one its log speaks of, where that is another; with Secure Boot."""

    image: str = IMAGE
    logged: str = ""
    secure: bool = True


class Rehearsal:
    """The emulated TPMs of one local fleet."""

    def __init__(self, home: Path, boots: Mapping[str, Boot | None] | None = None) -> None:
        """`boots`: for nodes by name; None: that node has no TPM. Others boot the image that the policy knows."""
        self._home = home / "tpm"
        self._boots = dict(boots or {})
        self._emulators: dict[str, Emulator] = {}

    def equip(self, name: str) -> Path | None:
        """Start a node's TPM and boot it; returns its socket, None for a node that has none. Raises TpmMissing, TpmError."""
        boot = self._boots.get(name, Boot())
        if boot is None:
            return None
        if name in self._emulators:  # the node alone was started again: its machine did not reboot
            return self._emulators[name].socket
        state = self._home / name
        emulator = Emulator(state)
        emulator.manufacture(self._home / "root")
        emulator.start()
        self._emulators[name] = emulator
        log = state / rehearsal.BOOT_LOG
        with Tpm(emulator.line(), SystemEntropy()) as tpm:
            rehearsal.boot(tpm, log, rehearsal.image(boot.image), secure=boot.secure)
        if boot.logged:
            honest = log.read_bytes()
            log.write_bytes(honest.replace(rehearsal.image(boot.image), rehearsal.image(boot.logged)))
        return emulator.socket

    def reboot(self, name: str) -> None:
        """Cut the power of one machine and boot it again."""
        self._emulators.pop(name).kill()
        self.equip(name)

    def pids(self) -> dict[str, int]:
        """Return the processes, by name."""
        return {f"tpm of {name}": emulator.pid for name, emulator in self._emulators.items() if emulator.pid}

    def stop(self) -> None:
        """End them all."""
        for emulator in self._emulators.values():
            emulator.stop()
        self._emulators.clear()

    def policy(self) -> str:
        """Return the policy under which these TPMs count, for what they are."""
        texts = [(self._home / "root" / name).read_text() for name in (ROOT_CERTIFICATE, ISSUER_CERTIFICATE)]
        (root,) = x509.read_all(texts[0].encode())
        certificates = ",\n".join(f'"""\n{text.strip()}\n"""' for text in texts)
        return (
            'name = "rehearsal"\n'
            f"certificates = [\n{certificates}\n]\n\n"
            "[rehearsal]\n"
            "i_know_that_an_emulated_tpm_proves_nothing = true\n"
            f'roots = ["{root.pin}"]\n\n'
            "[[image]]\n"
            f'digest = "{rehearsal.image(IMAGE).hex()}"\n'
            f'name = "{IMAGE}"\n'
            'claims = ["lockdown", "keeps-no-memory"]\n'
        )
