"""Put each test folder's own helper modules on the path; nothing that a test imports may phone home."""

import os
import sys
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

for folder in ("unit/parties", "unit/protocols", "properties"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
