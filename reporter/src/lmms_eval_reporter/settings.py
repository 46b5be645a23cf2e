"""What the reporter is told by its environment.

The operator fills it in when it makes the pod; `main` reads it once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from lmms_eval_core.names import ENV_RUN, ENV_RUN_DIRECTORY
from lmms_eval_core.run import MAX_TASK_BYTES, MAX_TASK_FILES, RUN_DIRECTORY, RunInput
from lmms_eval_core.store.settings import ENV_URL, StoreSettings

ENV_TOKEN_FILE: Final = "LMMS_EVAL_REPORTER_TOKEN_FILE"
ENV_CA_FILE: Final = "LMMS_EVAL_REPORTER_CA_FILE"
ENV_GRACE_SECONDS: Final = "LMMS_EVAL_REPORTER_GRACE_SECONDS"

MEGABYTE: Final = 1024 * 1024


class InvalidSettings(Exception):
    """The environment does not say what it must; the message names the variable."""


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """How much of a run is taken. The user's code fills the run directory: nothing in it is trusted to be small."""

    file_bytes: int = 20 * 1024 * MEGABYTE
    """One file of samples, uncompressed. A larger one is left out, and the artifacts are marked as truncated."""

    files: int = 1000
    """Files of samples."""

    task_files: int = MAX_TASK_FILES
    """Files that tasks wrote themselves."""

    task_bytes: int = MAX_TASK_BYTES
    """All of those together, uncompressed."""

    log_bytes: int = 64 * MEGABYTE
    """The log, which is searched for secrets at some megabytes a second; of a longer one the end is kept."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One attempt of one evaluation."""

    run: RunInput
    store: StoreSettings

    directory: Path = RUN_DIRECTORY
    """The run directory, shared with the evaluator."""

    token_file: Path | None = None
    """The projected token; unset, the pod's own service account or KUBECONFIG."""

    ca_file: Path | None = None
    """Certificate authority of the API server, beside the token."""

    grace_seconds: float = 45.0
    """What is left of a publication after SIGTERM. The pod has 60 s, of which the runner may use 5."""

    progress_seconds: float = 5.0
    """At most one write of progress in this time, and one for each change of stage."""

    poll_seconds: float = 0.2
    """How often the run directory is looked at: one `stat` each time."""

    journal_seconds: float = 10.0
    """How often what is new of the journal is stored. A lost node takes so much with it."""

    limits: UploadLimits = field(default_factory=UploadLimits)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings; InvalidSettings with the name of the variable that is missing or wrong."""
        try:
            return cls(
                run=RunInput.model_validate_json(environment[ENV_RUN]),
                store=StoreSettings.from_environment(environment),
                directory=Path(environment.get(ENV_RUN_DIRECTORY, str(RUN_DIRECTORY))),
                token_file=_parse_path(environment.get(ENV_TOKEN_FILE)),
                ca_file=_parse_path(environment.get(ENV_CA_FILE)),
                grace_seconds=_parse_seconds(environment, ENV_GRACE_SECONDS, cls.grace_seconds),
            )
        except KeyError as error:
            raise InvalidSettings(f"{error.args[0]} is not set; {ENV_RUN} and {ENV_URL} are needed") from error
        except ValidationError as error:
            # Without the cause, which repeats the whole input.
            raise InvalidSettings(f"{ENV_RUN} is not a run input: {error.error_count()} errors in it") from None


def _parse_path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _parse_seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    try:
        seconds = float(environment.get(name, default))
    except ValueError as error:
        raise InvalidSettings(f"{name} is not a number of seconds") from error
    if not 0 <= seconds <= 3600:
        raise InvalidSettings(f"{name} must be between 0 and 3600 seconds")
    return seconds
