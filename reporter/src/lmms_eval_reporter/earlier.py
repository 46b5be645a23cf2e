"""`complete.json`, written last: what an attempt had to report, so that a later one can report it without computing again."""

from typing import Any, Final

from pydantic import ValidationError

from lmms_eval_core import layout
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import RunFile
from lmms_eval_core.status import EvaluationStatus
from lmms_eval_core.store.errors import ObjectMissing
from lmms_eval_core.store.objects import ObjectStore

MAX_BYTES: Final = 256 * 1024


class Completion(RunFile):
    """The content of `complete.json`. `status` holds the fields that `report.results_fields` made."""

    uid: str
    attempt: int
    reason: Reason
    status: dict[str, Any]


async def finished_before(store: ObjectStore, prefix: ArtifactPrefix) -> Completion | None:
    """The last attempt, up to `prefix`'s own, that succeeded and is whole in the store; StoreError where it cannot tell."""
    for attempt in range(prefix.attempt, 0, -1):
        completion = await _read(store, prefix._replace(attempt=attempt).file(layout.COMPLETE_FILE))
        # The prefix has a part of the uid only.
        if completion is not None and completion.uid == prefix.uid and completion.reason == Reason.SUCCEEDED:
            return completion
    return None


async def _read(store: ObjectStore, key: str) -> Completion | None:
    try:
        completion = Completion.model_validate_json(await store.get(key, max_bytes=MAX_BYTES))
        EvaluationStatus.model_validate(completion.status)
    except (ObjectMissing, ValidationError):
        # Written by a version that meant something else: compute again.
        return None
    return completion
