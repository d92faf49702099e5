"""The stand-in: a probe that shows a recording made elsewhere."""

from propolis.terms.recording import Recording


class Replayed:
    """Shows one recording, for ever."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def record(self) -> Recording:
        """Return it."""
        return self._recording
