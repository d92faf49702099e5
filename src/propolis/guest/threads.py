"""onnxruntime in a guest: as many threads as the slot has cores. It asks no environment, so its defaults are set here.

A function may open a session of its own; one that states a number of threads keeps it.
"""

from typing import Any

from propolis.adapters.executor.environment import CORES_PER_SLOT


def settle() -> None:
    """Give every session that states no number of threads the slot's cores. Called once, before the first session."""
    import onnxruntime as ort
    from onnxruntime.capi import _pybind_state as state

    class SessionOptions(ort.SessionOptions):  # type: ignore[misc]
        """onnxruntime's own, with a guest's defaults."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.intra_op_num_threads = CORES_PER_SLOT
            self.inter_op_num_threads = CORES_PER_SLOT

    ort.SessionOptions = state.SessionOptions = SessionOptions
    state.get_default_session_options = SessionOptions  # what a session without options takes
