"""The catalogue of the evaluator image, read from the object store and kept in memory; `index` answers from it, `main` runs it.

A Job of the release makes it, perhaps minutes after the front end is up. Until then, and where it cannot be read, there is a
sentence instead. What was read once stays, whatever becomes of the store.
"""

import asyncio
import logging
import random
from datetime import datetime
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.worker import TooCostly, Worker
from lmms_eval_api.catalogue.index import Answer, Index, answer, index_of
from lmms_eval_core import layout
from lmms_eval_core.catalogue import MAX_CATALOGUE_BYTES
from lmms_eval_core.store.errors import ObjectMissing, StoreError
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.wire import EvaluateRequest

# Looked for sooner and then more rarely, as it comes within a minute or not for long; looked after, as its Job may run again.
FIRST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 300.0
JITTER: Final = (0.8, 1.2)
# Letters of what stands in the log about a file that is none of ours.
MAX_ERROR: Final = 500

NONE: Final = "This front end has no list: its installation makes none (catalogue.enabled), or names no object store."
NOT_YET: Final = (
    "The list is not there yet. A Job makes it when the evaluator image is new, which takes a minute; "
    "kubectl get jobs -l app.kubernetes.io/component=catalogue shows it."
)
UNREADABLE: Final = "The list cannot be read from the object store; the front end's log says why."
BROKEN: Final = "The list in the object store is broken; delete its Job and run helm upgrade to have it made again."

# The name in the log, which users search for; it does not follow the module.
log = logging.getLogger("lmms_eval_api.catalogue")


class Seen(NamedTuple):
    """What tells one content of the file from the next."""

    size: int
    modified: datetime


class CatalogueReader:
    """One for a front end. `image` is how the chart names the evaluator image; empty where no catalogue is made.

    `changes` is another number whenever an answer may be another one.
    """

    def __init__(
        self, store: ObjectStore | None = None, worker: Worker | None = None, *, namespace: str = "", image: str = ""
    ) -> None:
        self._store = store if image else None
        self._worker = worker or Worker()
        self._key = f"{namespace}/{layout.catalogue_file(image)}"
        self.changes = 0
        self._seen: Seen | None = None
        self._index: Index | None = None
        self._sentence = NOT_YET if self._store is not None else NONE

    def tasks(self, *, q: str = "", details: bool = False) -> Answer:
        """The answer of GET /tasks."""
        return self._index.tasks(q=q, details=details) if self._index else answer({"tasks": [], "error": self._sentence})

    def models(self, *, q: str = "", details: bool = False) -> Answer:
        """The answer of GET /models."""
        return self._index.models(q=q, details=details) if self._index else answer({"models": [], "error": self._sentence})

    def warnings(self, request: EvaluateRequest) -> list[str]:
        """What of a request the image does not know; nothing while nobody can tell."""
        return self._index.warnings(request) if self._index else []

    async def run(self) -> None:
        """Looks for ever; at once where there is no store to look into."""
        wait = FIRST_SECONDS
        while self._store is not None:
            await self.look(self._store)
            await asyncio.sleep((LOOK_SECONDS if self._index else wait) * random.uniform(*JITTER))
            wait = min(2 * wait, MOST_SECONDS)

    async def look(self, store: ObjectStore) -> None:
        """Once. Reads the file where it is new, and says what stands in the way."""
        try:
            found = await store.head(self._key)
            await self._read(store, Seen(found.size, found.modified))
        except ObjectMissing:
            self._sentence = NOT_YET
        except StoreError as error:
            self._trouble(UNREADABLE, str(error))
        except (ValueError, TooCostly) as error:
            self._trouble(BROKEN, str(error)[:MAX_ERROR])
        finally:
            self.changes += 1

    async def _read(self, store: ObjectStore, seen: Seen) -> None:
        if seen == self._seen:
            return
        content = await store.get(self._key, max_bytes=MAX_CATALOGUE_BYTES)
        self._seen = seen
        self._index, self._sentence = await self._worker.call(index_of, content), NOT_YET
        log.info("the catalogue is read", extra={"file": store.uri(self._key), "bytes": len(content)})

    def _trouble(self, sentence: str, error: str) -> None:
        if sentence != self._sentence:
            log.warning("the catalogue cannot be read", extra={"file": self._key, "error": error})
        self._sentence = sentence
