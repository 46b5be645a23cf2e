"""As process 1 the reporter gets no signal that it has not asked for, so it asks before it imports anything that takes time."""

import subprocess
import sys

ASKED_BEFORE_THE_FIRST_IMPORT = """
import signal, sys

class Importer:
    def find_spec(self, name, *others):
        if name in ("pydantic", "asyncio", "lmms_eval_core"):
            print(callable(signal.getsignal(signal.SIGTERM)))
            raise SystemExit

sys.meta_path.insert(0, Importer())
from lmms_eval_reporter.start import start; start()
"""


def test_a_request_to_end_is_heeded_from_the_first_moment() -> None:
    done = subprocess.run([sys.executable, "-c", ASKED_BEFORE_THE_FIRST_IMPORT], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
