"""`catalogue.json`: which tasks and models an evaluator image knows, as the image itself found out.

The runner makes it, the reporter puts it into the store (`layout.catalogue_file`), the front end answers from it.
"""

from enum import StrEnum
from typing import Final

from pydantic import Field

from lmms_eval_core.run import RunFile

CATALOGUE_FILE: Final = "catalogue.json"
# Two thousand tasks and a hundred models are half a megabyte.
MAX_CATALOGUE_BYTES: Final = 16 * 1024 * 1024


class TaskKind(StrEnum):
    """What a name in `spec.tasks` may stand for."""

    TASK = "task"
    GROUP = "group"
    TAG = "tag"


class KnownTask(RunFile):
    """A task, or a group or tag of tasks. Only what the task's own file says: no data set is loaded for it."""

    name: str = Field(min_length=1)
    kind: TaskKind
    members: list[str] = Field(default_factory=list)
    dataset: str | None = None
    output_type: str | None = None
    metrics: list[str] = Field(default_factory=list)


class KnownModel(RunFile):
    """A model adapter. `unavailable` is a sentence that says why this image cannot run it, where that is known.

    `needs_remote_code`: it asks for the code of its checkpoint by itself, and runs one that brings code only where that
    is permitted (`spec.trustRemoteCode`).
    """

    name: str = Field(min_length=1)
    aliases: list[str] = Field(default_factory=list)
    unavailable: str | None = None
    needs_remote_code: bool = False


class Catalogue(RunFile):
    """Both lists, sorted by name as lmms-eval sorts them, and the versions that they are of."""

    versions: dict[str, str] = Field(default_factory=dict)
    tasks: list[KnownTask]
    models: list[KnownModel]
