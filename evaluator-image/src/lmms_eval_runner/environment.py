"""The environment of the harness: the container's own, less what would make it part of somebody else's launch. Pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lmms_eval_core.names import ENV_RUN, ENV_RUN_DIRECTORY

from .remote_code import ENV_TRUSTED

# Whoever sees these believes to be one process of a job that torchrun, Slurm or MPI has started.
_LAUNCH_NAMES: Final = frozenset(
    {
        "RANK",
        "LOCAL_RANK",
        "GROUP_RANK",
        "NODE_RANK",
        "ROLE_RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "GROUP_WORLD_SIZE",
        "ROLE_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "LMMS_EVAL_PLUGINS",
        ENV_RUN,
    }
)
USER_NAME: Final = "lmms-eval"
_LAUNCH_PREFIXES: Final = ("SLURM_", "PMI_", "PMIX_", "OMPI_", "MPI_", "TORCHELASTIC_", "ACCELERATE_")


def harness_environment(environ: Mapping[str, str], *, run_directory: Path, trusted: bool = False) -> dict[str, str]:
    """What lmms-eval is started with: `progress` finds the run directory by it, and `remote_code` whether it is `trusted`."""
    inherited = {name: value for name, value in environ.items() if not _belongs_to_a_launch(name)}
    return inherited | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "TQDM_MININTERVAL": environ.get("TQDM_MININTERVAL", "2"),
        ENV_RUN_DIRECTORY: str(run_directory),
        ENV_TRUSTED: "1" if trusted else "0",
        # The pod's user has no entry in /etc/passwd, without which `getpass.getuser` and what asks it (torch, trackers) fails.
        "USER": environ.get("USER") or USER_NAME,
        "LOGNAME": environ.get("LOGNAME") or USER_NAME,
    }


def _belongs_to_a_launch(name: str) -> bool:
    return name in _LAUNCH_NAMES or name.startswith(_LAUNCH_PREFIXES)
