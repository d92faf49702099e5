"""How many threads a guest's libraries start: as many as its slot has cores, whatever the machine has.

A slot is one core: a lender counts its slots in cores, and a machine's speed is told per core. Libraries that are not told
start a thread for each core of the machine, and guests side by side would take each other's time. This binds who asks the
environment, not who starts threads by hand: those are bounded in number (RLIMIT_NPROC), not in cores.
"""

CORES_PER_SLOT = 1

_ASKED = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip

THREADS = {name: str(CORES_PER_SLOT) for name in _ASKED}
"""OpenMP, linear algebra libraries, numexpr, numba, joblib, Rust's rayon, polars, TensorFlow; torch and Arrow ask OpenMP's."""
