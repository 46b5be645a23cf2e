"""Whether a program that is process 1 asks for SIGTERM before it imports anything that takes time: else the kernel
drops it.
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


def asked_before_the_first_import(entry: str) -> str:
    """What a process says that begins as `entry`, a line of Python, does: whether it had asked by then."""
    done = subprocess.run([sys.executable, "-c", SCRIPT + entry], capture_output=True, text=True, check=True)
    return done.stdout
