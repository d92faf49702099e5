"""`python -I -m propolis.guest`: the fork server; with `--bare` one unconfined guest."""

import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from propolis.guest import zygote

if "--bare" in sys.argv[1:]:
    zygote.main_bare()
zygote.main()
