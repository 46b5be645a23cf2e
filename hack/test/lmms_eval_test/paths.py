"""Where things are in this checkout."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build" / "test"
# A name for what this checkout has outside of itself.
CHECKOUT = f"lmms-eval-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
