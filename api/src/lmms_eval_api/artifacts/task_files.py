"""Files that tasks wrote themselves, such as a submission to a test server: which there are, and their bytes.

They are whatever a run wrote. Nothing here looks into them.
"""

from collections.abc import AsyncGenerator
from typing import Final

from lmms_eval_api.artifacts.samples import Samples
from lmms_eval_api.artifacts.store import READ_SECONDS, Store, within
from lmms_eval_core import layout
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.run import MAX_TASK_FILES
from lmms_eval_core.store.objects import StoredObject

_SUFFIX: Final = ".zst"


class TaskFiles:
    """Every method raises StoreError."""

    def __init__(self, store: Store, samples: Samples) -> None:
        self._store = store
        self._samples = samples

    async def sizes(self, prefix: ArtifactPrefix) -> dict[str, int]:
        """Path, as the task gave it, and compressed bytes of each; as many as the reporter stores."""
        folder = prefix.file(layout.TASK_FILES)
        return {
            item.key.removeprefix(folder).removesuffix(_SUFFIX): item.size
            for item in await within(READ_SECONDS, self._listed(folder))
            if item.key.endswith(_SUFFIX)
        }

    def content(self, prefix: ArtifactPrefix, path: str) -> AsyncGenerator[bytes, None]:
        """The bytes that the task wrote to `path`; a key outside the folder of these files cannot be named."""
        return self._samples.content(prefix.file(layout.task_file(path)))

    async def _listed(self, folder: str) -> list[StoredObject]:
        found: list[StoredObject] = []
        async for item in self._store.list(folder):
            found.append(item)
            if len(found) == MAX_TASK_FILES:
                break
        return found
