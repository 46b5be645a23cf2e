"""Reads the catalogue of the evaluator image from the object store and keeps it in memory. `main` runs it.

A Job of the release makes the catalogue, perhaps minutes after the front end has started. Until then, and where it
cannot be read, the response has a sentence instead. A catalogue that was read stays, whatever becomes of the store.
"""

import asyncio
import logging
import random
from datetime import datetime
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.worker import TooCostly, Worker
from lmms_eval_api.catalogue.index import CatalogueResponse, Index, encode_response, make_index
from lmms_eval_core import layout
from lmms_eval_core.catalogue import MAX_CATALOGUE_BYTES
from lmms_eval_core.store.errors import ObjectMissing, StoreError
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.wire import EvaluateRequest

# Until the catalogue is found, the wait doubles: it comes within a minute or not for long. After that it is checked
# regularly, as its Job may run again.
FIRST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 300.0
JITTER: Final = (0.8, 1.2)
# Letters of an error in the log about a file that is not ours.
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


class FileVersion(NamedTuple):
    """Differs between two contents of the file."""

    size: int
    modified: datetime


class CatalogueReader:
    """One for a front end. `image` is the chart's hash of the evaluator image; empty where no catalogue is made.

    `changes` is a number that differs whenever a response may differ.
    """

    def __init__(
        self, store: ObjectStore | None = None, worker: Worker | None = None, *, namespace: str = "", image: str = ""
    ) -> None:
        self._store = store if image else None
        self._worker = worker or Worker()
        self._key = f"{namespace}/{layout.catalogue_file(image)}"
        self.changes = 0
        self._version: FileVersion | None = None
        self._index: Index | None = None
        self._sentence = NOT_YET if self._store is not None else NONE

    def list_tasks(self, *, q: str = "", details: bool = False) -> CatalogueResponse:
        """Return the response of GET /tasks."""
        if self._index is None:
            return encode_response({"tasks": [], "error": self._sentence})
        return self._index.list_tasks(q=q, details=details)

    def list_models(self, *, q: str = "", details: bool = False) -> CatalogueResponse:
        """Return the response of GET /models."""
        if self._index is None:
            return encode_response({"models": [], "error": self._sentence})
        return self._index.list_models(q=q, details=details)

    def list_warnings(self, request: EvaluateRequest) -> list[str]:
        """Return what the image does not know of a request; nothing while there is no catalogue."""
        return self._index.list_warnings(request) if self._index else []

    async def run(self) -> None:
        """Refresh the catalogue until cancelled; return at once if there is no store."""
        wait = FIRST_SECONDS
        while self._store is not None:
            await self.refresh(self._store)
            await asyncio.sleep((LOOK_SECONDS if self._index else wait) * random.uniform(*JITTER))
            wait = min(2 * wait, MOST_SECONDS)

    async def refresh(self, store: ObjectStore) -> None:
        """Read the file if it is new, and keep the reason if that fails."""
        try:
            found = await store.head(self._key)
            await self._read(store, FileVersion(found.size, found.modified))
        except ObjectMissing:
            self._sentence = NOT_YET
        except StoreError as error:
            self._report_failure(UNREADABLE, str(error))
        except (ValueError, TooCostly) as error:
            self._report_failure(BROKEN, str(error)[:MAX_ERROR])
        finally:
            self.changes += 1

    async def _read(self, store: ObjectStore, version: FileVersion) -> None:
        if version == self._version:
            return
        content = await store.get(self._key, max_bytes=MAX_CATALOGUE_BYTES)
        self._version = version
        self._index, self._sentence = await self._worker.call(make_index, content), NOT_YET
        log.info("the catalogue is read", extra={"file": store.uri(self._key), "bytes": len(content)})

    def _report_failure(self, sentence: str, error: str) -> None:
        if sentence != self._sentence:
            log.warning("the catalogue cannot be read", extra={"file": self._key, "error": error})
        self._sentence = sentence
