"""Put each test folder's own helper modules on the path."""

import sys
from pathlib import Path

for folder in ("unit/parties", "properties"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
