"""What a TPM keeps: NV counters and certificates, keys at fixed places, its clock; and what empties it (Part 3, 29 to 31)."""

from propolis.adapters.tpm.client import OWNER, Key, Tpm
from propolis.adapters.tpm.engine import Answer, Entity, permanent
from propolis.adapters.tpm.session import Password, Session
from propolis.crypto.tpm import policy
from propolis.crypto.tpm.attest import Clock
from propolis.crypto.tpm.ids import Alg, Command, Handle, NvAttribute
from propolis.crypto.tpm.marshal import sized, u16, u32
from propolis.terms.errors import TpmError

NV_CHUNK = 512
MAX_CERTIFICATE = 16 * 1024
COUNTER = (
    NvAttribute.COUNTER | NvAttribute.AUTH_WRITE | NvAttribute.AUTH_READ | NvAttribute.OWNER_READ | NvAttribute.NO_DA
)
LOCKOUT = permanent(Handle.LOCKOUT)
ABSENT = 0x18B  # TPM_RC_HANDLE for the first handle


def define_counter(tpm: Tpm, index: int, session: Session) -> Entity:
    """Make a counter, or find it: it begins above every counter this TPM ever had. Raises TpmError."""
    public = u32(index) + u16(Alg.SHA256) + u32(COUNTER) + sized(b"") + u16(8)
    parameters = sized(b"") + sized(public)
    tpm.engine.run(Command.NV_DEFINE_SPACE, [OWNER], parameters, [session])
    fresh = Entity(index, policy.nv_counter_name(index, COUNTER))
    # no session: an index that was never counted up cannot be read in one, so a swallowed first count is seen
    tpm.engine.run(Command.NV_INCREMENT, [fresh, fresh], auths=[Password()])
    return counter(index)


def counter(index: int) -> Entity:
    """Return a counter that was written once."""
    return Entity(index, policy.nv_counter_name(index, COUNTER | NvAttribute.WRITTEN))


def increment(tpm: Tpm, index: Entity, session: Session) -> None:
    """Count up by one, for ever. In a session: who sits on the bus cannot answer in the TPM's place that it counted."""
    tpm.engine.run(Command.NV_INCREMENT, [index, index], auths=[session])


def count(tpm: Tpm, index: Entity) -> int:
    """Return a counter's value."""
    return int.from_bytes(_read(tpm, index, index, 8, 0), "big")


def undefine(tpm: Tpm, index: Entity) -> None:
    """Remove an index of ours."""
    tpm.engine.run(Command.NV_UNDEFINE_SPACE, [OWNER, index], auths=[Password()])


def certificate(tpm: Tpm, index: int) -> bytes | None:
    """Return what an index readable by the owner holds (an EK certificate), or None where there is no such index."""
    try:
        _, answer = tpm.engine.run(Command.NV_READ_PUBLIC, [permanent(index)])
    except TpmError as error:
        if error.response & 0xFFF == ABSENT:
            return None
        raise
    reader = Answer(answer)
    area = Answer(reader.sized())
    name = reader.sized()
    area.take(10)
    area.sized()
    size = area.u16()
    if size > MAX_CERTIFICATE:
        raise TpmError(f"NV index {index:#x} holds {size} bytes, too many for a certificate")
    entity = Entity(index, name)
    parts = [_read(tpm, OWNER, entity, min(NV_CHUNK, size - at), at) for at in range(0, size, NV_CHUNK)]
    return b"".join(parts)


def _read(tpm: Tpm, who: Entity, index: Entity, size: int, offset: int) -> bytes:
    _, answer = tpm.engine.run(Command.NV_READ, [who, index], u16(size) + u16(offset), [Password()])
    return Answer(answer).sized()


def keep(tpm: Tpm, key: Key, handle: int) -> None:
    """Make a primary key persistent at a handle."""
    tpm.engine.run(Command.EVICT_CONTROL, [OWNER, key.entity], u32(handle), [Password()])


def clock(tpm: Tpm) -> Clock:
    """Return the clock; what only attestations tell (firmware) is 0."""
    _, answer = tpm.engine.run(Command.READ_CLOCK)
    reader = Answer(answer)
    reader.u64()
    return Clock(clock=reader.u64(), resets=reader.u32(), restarts=reader.u32(), safe=reader.u8() == 1, firmware=0)


def clear(tpm: Tpm) -> None:
    """TPM2_Clear by the lockout authority: owner's keys, counters and every sealed object are gone."""
    tpm.engine.run(Command.CLEAR, [LOCKOUT], auths=[Password()])


def unlock(tpm: Tpm) -> None:
    """Reset the count of wrong PINs by the lockout authority."""
    tpm.engine.run(Command.DICTIONARY_ATTACK_LOCK_RESET, [LOCKOUT], auths=[Password()])


def restart(tpm: Tpm, *, clear_state: bool = True) -> None:
    """TPM2_Shutdown in good order."""
    tpm.engine.run(Command.SHUTDOWN, parameters=u16(0 if clear_state else 1))
