"""Windows: TPM Base Services. One context, Tbsip_Submit_Command for each command (Win32 API, tbs.h).

TBS virtualises handles as the Linux resource manager does. Unelevated processes may run the commands we use except
those that need owner or lockout auth (Windows keeps both); those raise TpmError with TBS's code.
"""

import ctypes
from typing import Any

from propolis.terms.errors import TpmError, TpmMissing

MAX_RESPONSE = 4096
VERSION_TWO = 2
INCLUDE_TPM_20 = 4
LOCALITY_ZERO = 0
PRIORITY_NORMAL = 200
NOT_FOUND = (0x8028400F, 0x80284016)  # TBS_E_TPM_NOT_FOUND, TBS_E_SERVICE_DISABLED
BLOCKED = 0x80280400


class _Params(ctypes.Structure):
    """TBS_CONTEXT_PARAMS2."""

    _fields_ = (("version", ctypes.c_uint32), ("flags", ctypes.c_uint32))


def _library() -> Any:
    loader = getattr(ctypes, "WinDLL", None)
    if loader is None:
        raise TpmMissing("TPM Base Services exist on Windows only")
    try:
        return loader("tbs.dll")
    except OSError as error:
        raise TpmMissing("this Windows has no TPM Base Services") from error


class TbsLine:
    """A TBS context."""

    emulated = False

    def __init__(self, library: Any = None) -> None:
        """`library` stands in for tbs.dll in tests. Raises TpmMissing, TpmError."""
        self._tbs = library if library is not None else _library()
        self._context = ctypes.c_void_p()
        params = _Params(VERSION_TWO, INCLUDE_TPM_20)
        self._checked(
            "Tbsi_Context_Create", self._tbs.Tbsi_Context_Create(ctypes.byref(params), ctypes.byref(self._context))
        )
        self._open = True

    def transact(self, command: bytes) -> bytes:
        """Submit one command. Raises TpmError."""
        if not self._open:
            raise TpmError("the line to the TPM is closed")
        answer = ctypes.create_string_buffer(MAX_RESPONSE)
        size = ctypes.c_uint32(MAX_RESPONSE)
        status = self._tbs.Tbsip_Submit_Command(
            self._context, LOCALITY_ZERO, PRIORITY_NORMAL, command, len(command), answer, ctypes.byref(size)
        )
        self._checked("Tbsip_Submit_Command", status)
        return answer.raw[: min(size.value, MAX_RESPONSE)]

    def close(self) -> None:
        """Close the context; idempotent. TBS flushes what was loaded in it."""
        if self._open:
            self._open = False
            self._tbs.Tbsip_Context_Close(self._context)

    @staticmethod
    def _checked(call: str, status: int) -> None:
        code = status & 0xFFFFFFFF
        if code == 0:
            return
        if code in NOT_FOUND:
            raise TpmMissing(f"{call}: Windows sees no TPM ({code:#010x})")
        why = "Windows blocks this command" if code == BLOCKED else "refused"
        raise TpmError(f"{call}: {why} ({code:#010x})", response=code)
