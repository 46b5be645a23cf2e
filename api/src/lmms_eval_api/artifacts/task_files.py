"""Files that tasks wrote themselves, such as a submission to a test server: which there are, and their bytes.

Their content is whatever a run wrote, and is not parsed.
"""

from collections.abc import AsyncGenerator
from typing import Final

from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.artifacts.store import READ_SECONDS, ArtifactStore, read_within
from lmms_eval_core import layout
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.run import MAX_TASK_FILES
from lmms_eval_core.store.objects import StoredObject

_SUFFIX: Final = ".zst"


class TaskFiles:
    """Every method raises StoreError."""

    def __init__(self, store: ArtifactStore, samples: SampleReader) -> None:
        self._store = store
        self._reader = samples

    async def list_sizes(self, prefix: ArtifactPrefix) -> dict[str, int]:
        """Return the path, as the task chose it, and the compressed bytes of each; as many as the reporter stores."""
        folder = prefix.file(layout.TASK_FILES)
        return {
            item.key.removeprefix(folder).removesuffix(_SUFFIX): item.size
            for item in await read_within(READ_SECONDS, self._list_objects(folder))
            if item.key.endswith(_SUFFIX)
        }

    def stream_content(self, prefix: ArtifactPrefix, path: str) -> AsyncGenerator[bytes, None]:
        """Yield the bytes that the task wrote to `path`; no key outside the folder of these files can be named."""
        return self._reader.stream_content(prefix.file(layout.task_file(path)))

    async def _list_objects(self, folder: str) -> list[StoredObject]:
        found: list[StoredObject] = []
        async for item in self._store.list(folder):
            found.append(item)
            if len(found) == MAX_TASK_FILES:
                break
        return found
