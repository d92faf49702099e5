"""The error tree of the house. Each leaf has a stable code, says whose doing it is, and how to get out of it.

    PropolisError
    ├── WireError              the peer's doing
    │   ├── MalformedMessage       bytes that are not a message of ours
    │   ├── UnexpectedMessage      a message that has no place in this state
    │   ├── VersionMismatch        a peer that speaks another version
    │   ├── PeerUnreachable        a dial that failed or a channel that broke
    │   └── TooLarge               over a bound we state
    ├── ProtocolMisuse         our own mistake
    ├── AdmissionError
    │   ├── InvitationRefused      token unknown, used, expired, or of another role
    │   ├── MemberRemoved          a member the fleet's operator removed
    │   └── RequirementUnmet       a job that cannot run where it asks to
    ├── CustodyError
    │   ├── Rejected               evidence that proves nothing, with the code of the step that refused it
    │   ├── SealBroken             ciphertext that does not open: wrong key, position or bytes
    │   ├── ReleaseDenied          a key that is not handed out, with the claim that was missing
    │   └── VaultError             a vault that does not open, or not with this
    │       ├── WrongSecret            a PIN, passphrase or recovery code that is not the vault's
    │       ├── PolicyChanged          the machine does not start as it was approved to
    │       ├── VaultForeign           sealed by another TPM, or by this one before it was cleared
    │       ├── VaultRevoked           a header whose epoch was revoked
    │       ├── VaultRolledBack        vault and TPM remember different histories
    │       └── VaultDamaged           a file of a vault that is missing, cut, swapped or altered
    ├── TpmError               a TPM that refuses, is gone, or answers nonsense
    │   ├── TpmMissing             no TPM here, or none this user may use
    │   ├── TpmBusy                no room for another object or session now, or not ready
    │   └── TpmLocked              too many wrong PINs: it refuses for a while
    ├── ExecutorError
    │   ├── Unsupported            the machine cannot offer the rung asked for
    │   ├── Overran                time, memory or output limit passed
    │   ├── Crashed                the guest ended by itself
    │   └── TaskRaised             the owner's own function raised
    ├── StoreError
    │   └── StoreFull              no room on the disk
    ├── PlacementError
    │   └── SolutionRejected       a solver's answer that breaks a constraint
    ├── DataError              an input file or value that is not of a safe format or shape
    │   ├── UnknownJob             a job's id that names none, or several
    │   └── UnknownObject          a name or version that a vault does not hold
    └── ConfigError            a setting or state folder that cannot be used

Verdicts that are normal (refused, waiting, infeasible) are returned as values with reasons; what is unsafe to ignore is
raised. Only `cli/` exits.
"""

from typing import ClassVar

from propolis.terms.text import clean


class PropolisError(Exception):
    """Root of the tree. `code` is stable; `hint` tells a person what to do next, a nearer one may be given."""

    code: ClassVar[str] = "propolis"
    hint: ClassVar[str] = ""

    def __init__(self, text: str = "", *, hint: str = "") -> None:
        super().__init__(clean(text))  # a reason may be a stranger's, and a traceback prints it as it is
        self.way_out = hint or self.hint

    def explain(self) -> str:
        """Return the text a person sees: what happened, then the way out."""
        text = str(self) or self.code
        return f"{text}\n  → {self.way_out}" if self.way_out else text


class WireError(PropolisError):
    """The peer's doing, or the network's."""

    code = "wire"


class MalformedMessage(WireError):
    """Bytes that are not a message of ours."""

    code = "wire.malformed"
    hint = "the peer is broken or hostile; its channel is closed"


class UnexpectedMessage(WireError):
    """A message that has no place in this state."""

    code = "wire.unexpected"
    hint = "run the same release of propolis on both sides; if they do, the peer is broken or hostile"


class VersionMismatch(WireError):
    """A peer that speaks another version of the protocol."""

    code = "wire.version"
    hint = "run the same release of propolis on both sides"


class PeerUnreachable(WireError):
    """A dial that failed or a channel that broke."""

    code = "wire.unreachable"
    hint = "check that the orchestrator runs and that its address is reachable from here"


class TooLarge(WireError):
    """Over a bound that we state."""

    code = "wire.too-large"
    hint = "split the input into smaller pieces"


class ProtocolMisuse(PropolisError):
    """Our own mistake: a caller broke a machine's rules."""

    code = "misuse"
    hint = "this is a defect of propolis; please report it"


class AdmissionError(PropolisError):
    """Somebody is not let in, or something is not let run."""

    code = "admission"


class InvitationRefused(AdmissionError):
    """An invitation token that is unknown, used, expired or of another role."""

    code = "admission.invitation"
    hint = "ask the fleet's operator for a fresh invitation: propolis invite"


class MemberRemoved(AdmissionError):
    """A member that the fleet's operator removed."""

    code = "admission.removed"
    hint = "to come back it needs a fresh invitation and a new home: propolis --home FOLDER node join INVITATION"


class RequirementUnmet(AdmissionError):
    """A job that cannot run where it asks to, and is never run weaker."""

    code = "admission.requirement"
    hint = "propolis explain JOB says what each node lacks"


class CustodyError(PropolisError):
    """Keys and sealed things."""

    code = "custody"


class SealBroken(CustodyError):
    """Ciphertext that does not open: wrong key, wrong position, or altered bytes."""

    code = "custody.seal"
    hint = "the bytes were altered, replayed or made for another key; nothing of them was used"


class Rejected(CustodyError):
    """Evidence, or a part of it, that proves nothing; its reason is stable and names the step."""

    code = "custody.rejected"
    hint = "docs/specs/evidence.md and attestation.md say what each reason means; nothing of the evidence was used"

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(f"{reason}: {text}" if text else reason)
        self.reason = reason


class ReleaseDenied(CustodyError):
    """A key that is not handed out; the text names the claim that was missing."""

    code = "custody.denied"
    hint = "propolis explain JOB says what each node lacks"


class VaultError(CustodyError):
    """A vault that does not open, or not with this."""

    code = "custody.vault"


class WrongSecret(VaultError):
    """A PIN, passphrase or recovery code that is not the vault's, or is mistyped."""

    code = "custody.vault.secret"
    hint = "type it again; propolis vault recover opens a vault with its recovery code"


class PolicyChanged(VaultError):
    """The machine does not start as it was approved to: firmware, its keys or the boot loader changed."""

    code = "custody.vault.policy"
    hint = "if you expect this (an update), propolis vault approve; if not, do not type a PIN or code on this machine"


class VaultForeign(VaultError):
    """A vault sealed by another TPM, or by this one before it was cleared."""

    code = "custody.vault.tpm"
    hint = "propolis vault recover seals it to this machine with the recovery code"


class VaultRevoked(VaultError):
    """A vault's header whose epoch was revoked: the TPM never opens it again."""

    code = "custody.vault.revoked"
    hint = "use the newest copy of the vault; if there is none, propolis vault recover opens it with the recovery code"


class VaultRolledBack(VaultError):
    """Vault and TPM remember different histories: one of them was set back to an older state."""

    code = "custody.vault.rollback"
    hint = "use the newest copy of the vault; to accept this state as it is: propolis vault recover"


class VaultDamaged(VaultError):
    """A file of a vault that is missing, cut, swapped, older than it should be, or altered."""

    code = "custody.vault.damaged"
    hint = "put the file that is named back from a copy; propolis vault open --all says what is whole"


class TpmError(PropolisError):
    """A TPM that refuses a command, is gone, or answers nonsense. `response` is its response code, 0 for none."""

    code = "tpm"

    def __init__(self, text: str = "", *, response: int = 0, hint: str = "") -> None:
        super().__init__(text, hint=hint)
        self.response = response


class TpmMissing(TpmError):
    """No TPM here, or none that this user may use."""

    code = "tpm.missing"
    hint = "propolis doctor says whether this machine has one; on Linux add your user to the group tss"


class TpmBusy(TpmError):
    """A TPM that has no room for another object or session now, or is not ready."""

    code = "tpm.busy"
    hint = "another program left keys in the TPM or uses it now: try again, after a restart of that program or of the machine"


class TpmLocked(TpmError):
    """Too many wrong PINs: the TPM refuses for a while (dictionary attack protection)."""

    code = "tpm.locked"
    hint = "wait for the lockout to pass; of a vault, propolis vault recover opens it with the recovery code"


class ExecutorError(PropolisError):
    """A task could not be run to its end."""

    code = "executor"


class Unsupported(ExecutorError):
    """The machine cannot offer the isolation asked for."""

    code = "executor.unsupported"
    hint = "propolis doctor says which isolation this machine can offer and what would raise it"


class Overran(ExecutorError):
    """A limit of time, memory or output was passed."""

    code = "executor.overran"
    hint = "declare more time or memory for the job, or make its tasks smaller"


class Crashed(ExecutorError):
    """The guest ended by itself."""

    code = "executor.crashed"
    hint = "propolis explain JOB says where and when; --memory-mb gives a task more, where it ran out of it"


class TaskRaised(ExecutorError):
    """The owner's own function raised; the text is the guest's traceback."""

    code = "executor.raised"
    hint = "mend the function and run it again; propolis logs JOB shows what it printed before"


class StoreError(PropolisError):
    """The journal or a blob could not be kept."""

    code = "store"


class StoreFull(StoreError):
    """No room on the disk. What was stored before is intact; the new work was refused."""

    code = "store.full"
    hint = "free some disk space, then try again"


class PlacementError(PropolisError):
    """No valid placement came back."""

    code = "placement"


class SolutionRejected(PlacementError):
    """A solver's answer that breaks a constraint."""

    code = "placement.rejected"
    hint = "nothing was placed by it and it is asked again; a solver that goes on like this has to be replaced"


class DataError(PropolisError):
    """An input file or value that is not of a safe format, type or shape."""

    code = "data"


class UnknownJob(DataError):
    """A job's id, or the beginning of one, that names no job of this home, or several."""

    code = "data.job"
    hint = "propolis jobs --all lists them"


class UnknownObject(DataError):
    """A name, or a version of it, that the vault does not hold."""

    code = "data.object"
    hint = "propolis vault list shows what it holds"


class ConfigError(PropolisError):
    """A setting or a state folder that cannot be used."""

    code = "config"
