"""The startup probe: `python -m lmms_eval_reporter.probe` succeeds once the reporter has said that the evaluator may
start.

It runs every second while a pod starts, so it imports next to nothing; a test keeps its default equal to core's.
"""

import os
import sys
from pathlib import Path
from typing import Final

from lmms_eval_core.names import ENV_RUN_DIRECTORY

# Shared with the evaluator, which does not run yet when it matters.
READY_FILE: Final = "ready"
DEFAULT_DIRECTORY: Final = "/run/lmms-eval"


def main() -> int:
    """Return 0 when ready."""
    return 0 if Path(os.environ.get(ENV_RUN_DIRECTORY, DEFAULT_DIRECTORY), READY_FILE).exists() else 1


if __name__ == "__main__":
    sys.exit(main())
