"""What the harness runs with: its environment variables, and the versions of its packages.

The variables are the container's own, less those that would make it part of somebody else's launch.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from lmms_eval_core.names import ENV_RUN, ENV_RUN_DIRECTORY

from .remote_code import ENV_TRUSTED

HARNESS_PACKAGES: Final = ("lmms-eval", "torch", "transformers", "accelerate", "vllm", "sglang")
# A library that finds these takes its process for one of a job that torchrun, Slurm or MPI has started.
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


def build_harness_environment(
    environ: Mapping[str, str], *, run_directory: Path, trusted: bool = False
) -> dict[str, str]:
    """Return lmms-eval's environment: `progress` finds the run directory by it, and `remote_code` whether it is
    `trusted`.
    """
    inherited = {name: value for name, value in environ.items() if not _is_of_launch(name)}
    return inherited | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "TQDM_MININTERVAL": environ.get("TQDM_MININTERVAL", "2"),
        ENV_RUN_DIRECTORY: str(run_directory),
        ENV_TRUSTED: "1" if trusted else "0",
        # The pod's user has no entry in /etc/passwd, without which `getpass.getuser` and what asks it (torch, trackers)
        # fails.
        "USER": environ.get("USER") or USER_NAME,
        "LOGNAME": environ.get("LOGNAME") or USER_NAME,
    }


def read_package_versions(packages: Iterable[str], lookup: Callable[[str], str] = version) -> dict[str, str]:
    """Return the versions of those `packages` that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = lookup(package)
        except PackageNotFoundError:
            continue
    return found


def _is_of_launch(name: str) -> bool:
    return name in _LAUNCH_NAMES or name.startswith(_LAUNCH_PREFIXES)
