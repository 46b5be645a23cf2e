"""Whether a program handles SIGTERM before its first long import.

The kernel drops a SIGTERM to process 1 that has no handler yet.
"""

import subprocess
import sys

SCRIPT = """
import signal, sys

class Importer:
    def find_spec(self, name, *others):
        if name in ("pydantic", "asyncio", "lmms_eval_core"):
            print(callable(signal.getsignal(signal.SIGTERM)))
            raise SystemExit

sys.meta_path.insert(0, Importer())
"""


def probe_sigterm_before_imports(entry: str) -> str:
    """Run `entry`, a line of Python; return `True` as printed if SIGTERM has a handler at the first long import."""
    done = subprocess.run([sys.executable, "-c", SCRIPT + entry], capture_output=True, text=True, check=True)
    return done.stdout
