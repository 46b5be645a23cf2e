"""The command of the evaluator container in the catalogue's Job: writes the catalogue into the run
directory and ends.
"""

import os
import sys
import time
from pathlib import Path
from typing import Final

from lmms_eval_core.catalogue import CATALOGUE_FILE, Catalogue
from lmms_eval_core.names import ENV_INCLUDE_PATH, ENV_RUN_DIRECTORY
from lmms_eval_core.run import RUN_DIRECTORY, write_atomically
from lmms_eval_runner import warm_start
from lmms_eval_runner.environment import HARNESS_PACKAGES, read_package_versions

from .models import list_known_models
from .tasks import list_known_tasks

# Adapters are tried in forks, which threads do not survive: this keeps libraries from starting theirs.
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> int:
    """Write the catalogue; return the exit code. What lmms-eval raises ends the Job's attempt with its traceback."""
    os.environ.update(ONE_THREAD)
    warm_start.apply_shortcuts(warm_start.parse_yaml_in_c)
    started = time.monotonic()
    tasks = list_known_tasks(os.environ.get(ENV_INCLUDE_PATH, ""))
    catalogue = Catalogue(versions=read_package_versions(HARNESS_PACKAGES), tasks=tasks, models=list_known_models())
    write_atomically(Path(os.environ.get(ENV_RUN_DIRECTORY) or RUN_DIRECTORY) / CATALOGUE_FILE, catalogue.to_json())
    usable = sum(model.unavailable is None for model in catalogue.models)
    counts = f"{len(catalogue.tasks)} tasks, {len(catalogue.models)} models, {usable} of them usable"
    print(f"catalogue: {counts}; {time.monotonic() - started:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
