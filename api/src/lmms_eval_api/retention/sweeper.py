"""Deletes the files of evaluations that are gone, some days after they were found gone. `main` runs it.

It also deletes the catalogues of evaluator images that the release no longer uses, and lets `media_pool` delete media.
`orphans` decides what is deleted.
These rules keep it from deleting files in use:

* **The order.** The store is listed first and the evaluations after it, live and completely. Whatever is in the store
  had its evaluation before, so that one that is missing in the list is gone, and a uid never comes back. A list that
  breaks off ends the sweep.
* **The owners.** An installation is identified by the uid of its namespace, which outlives upgrades and
  reinstallations, differs between clusters, and is read with one `get`. Each installation puts a file of that name into
  its namespace's folder of the store, and deletes only where its own file is the only one. (A single file, taken by the
  first comer, would protect the first installation's files from the second, not the second's from the first.) A
  recreated namespace finds the file of its predecessor: a person has to confirm that nobody owns it, by deleting it.
* **The grace period.** One object in the folder has the time since when each orphan has been known. It is replaced
  whole. Whoever loses a race, finds it broken or finds other owners than before starts anew, so that files stay longer,
  never shorter.
* **The names.** In the namespace's own folder nothing is touched but `<name>-<uid8>/a<number>/...`,
  `.lmms-eval-catalogue-<hash>.json` and `.media/<two digits>/<SHA-256>`.

Several replicas do the same work twice, and deleting what is deleted already does nothing. A sweep that breaks off
half-way is completed by the next one.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from lmms_eval_api.artifacts.stored_files import find_stored_attempt
from lmms_eval_api.retention.media_pool import LivingRun, MediaPool
from lmms_eval_api.retention.orphans import Sweeping, plan_sweep
from lmms_eval_core import layout
from lmms_eval_core.kube.client import EVALUATIONS, NAMESPACES, KubeClient, Object
from lmms_eval_core.kube.errors import KubeError
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.phases import Phase
from lmms_eval_core.store.errors import ObjectMissing, StoreError, Unreachable
from lmms_eval_core.store.objects import ObjectStore

# Long enough for an upgrade of the front end to finish.
FIRST_SECONDS: Final = 300.0
JITTER: Final = (0.8, 1.2)
MAX_ORPHANS_BYTES: Final = 16 * 1024 * 1024
BATCH: Final = 1000

ORPHANS = TypeAdapter(dict[str, Annotated[float, Field(allow_inf_nan=False)]])

# The name in the log, which users search for; it does not follow the module.
log = logging.getLogger("lmms_eval_api.sweeper")


@dataclass(frozen=True)
class SweepSettings:
    """What to delete, in which interval and after which grace period, in seconds.

    Without `deletes`, the folder is only claimed. `catalogue` is the file that is in use.
    """

    deletes: bool = True
    interval: float = 3600.0
    grace: float = 7 * 86400.0
    catalogue: str = ""


class Sweeper:
    """One for a front end. `time` returns Unix seconds."""

    def __init__(
        self,
        client: KubeClient,
        store: ObjectStore,
        settings: SweepSettings,
        pool: MediaPool,
        *,
        time: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._store = store
        self._settings = settings
        self._pool = pool
        self._time = time
        self._folder = client.namespace
        self.state = Sweeping.WAITING

    async def run(self) -> None:
        """Sweep until cancelled. What a sweep could not do is left to the next one."""
        wait = min(FIRST_SECONDS, self._settings.interval)
        while True:
            await asyncio.sleep(wait * random.uniform(*JITTER))
            wait = self._settings.interval
            try:
                await self.sweep()
            except (KubeError, StoreError) as error:
                self.state = Sweeping.FAILED
                log.warning("the sweep failed", extra={"error": str(error)})
            except Exception:
                # The outermost loop of a background task: the front end works without it.
                self.state = Sweeping.FAILED
                log.exception("the sweep broke")

    async def sweep(self) -> None:
        """Sweep once. Raises KubeError and StoreError."""
        mine = layout.owner_file(await self._read_installation())
        found = await self._store.folder(self._folder)
        others = [file for file in found.files if file.startswith(layout.OWNER_FILES) and file != mine]
        if mine not in found.files:
            await self._store.put(self._make_key(mine), b"")
        if others or mine not in found.files:
            await self._store.delete([self._make_key(layout.ORPHANS_FILE)])
        if others:
            self._report_others(others)
            return
        survey = await self._pool.survey(self._time() - self._settings.grace)
        if self._settings.deletes:
            runs = await self._list_runs()
            names = [*found.folders, *filter(layout.STORED_CATALOGUE.fullmatch, found.files)]
            refusal = await self._delete_orphans(names, runs)
            await self._pool.delete(survey, runs)
            if refusal is not None:
                raise refusal
            self.state = Sweeping.DONE
        else:
            self.state = Sweeping.OFF

    async def _delete_orphans(self, names: list[str], runs: list[LivingRun]) -> StoreError | None:
        """Return what the store said to the first folder that it did not let go."""
        living = {layout.evaluation_folder(run.newest.name, run.newest.uid) for run in runs}
        living.add(self._settings.catalogue)
        known = await self._read_orphans()
        plan = plan_sweep(names, living, known, self._time(), grace=self._settings.grace)
        if plan.orphans != known:
            await self._store.put(self._make_key(layout.ORPHANS_FILE), ORPHANS.dump_json(plan.orphans))
        refusals: list[StoreError] = []
        for name in plan.due:
            try:
                await (self._delete_catalogue if layout.STORED_CATALOGUE.fullmatch(name) else self._delete_files)(name)
            except Unreachable:
                raise
            except StoreError as error:
                # One folder that is locked must not keep the others from being deleted.
                refusals.append(error)
        return refusals[0] if refusals else None

    async def _delete_files(self, folder: str) -> None:
        prefix = self._make_key(folder) + "/"
        keys = [entry.key async for entry in self._store.list(prefix)]
        ours = [key for key in keys if layout.FILE_OF_AN_ATTEMPT.fullmatch(key.removeprefix(prefix))]
        for start in range(0, len(ours), BATCH):
            await self._store.delete(ours[start : start + BATCH])
        if ours:
            log.info("deleted the files of an evaluation that is gone", extra={"folder": folder, "files": len(ours)})

    async def _delete_catalogue(self, file: str) -> None:
        await self._store.delete([self._make_key(file)])
        log.info("deleted the catalogue of an image that is not in use", extra={"file": file})

    async def _read_installation(self) -> str:
        namespace = await self._client.get(NAMESPACES, self._client.namespace)
        return str(namespace["metadata"]["uid"])

    async def _list_runs(self) -> list[LivingRun]:
        return [read_run(item) async for page in self._client.pages(EVALUATIONS) for item in page.items]

    async def _read_orphans(self) -> dict[str, float]:
        key = self._make_key(layout.ORPHANS_FILE)
        try:
            return ORPHANS.validate_json(await self._store.get(key, max_bytes=MAX_ORPHANS_BYTES))
        except ObjectMissing:
            return {}
        except ValidationError:
            log.warning("the list of orphans cannot be read, and is begun anew", extra={"file": self._store.uri(key)})
            return {}

    def _make_key(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _report_others(self, others: list[str]) -> None:
        if self.state is not Sweeping.SHARED:
            log.warning(
                "No files are deleted: another installation uses the same folder of the store. Give each a URL or a "
                "namespace of its own; if the other one is gone for good, delete its file.",
                extra={"folder": self._store.uri(self._folder), "others": others},
            )
        self.state = Sweeping.SHARED


def read_run(evaluation: Object) -> LivingRun:
    """Return what the pool has to know of an evaluation."""
    metadata, status = evaluation["metadata"], evaluation.get("status", {})
    attempt = status.get("attempt") or 0
    stored = find_stored_attempt(evaluation)
    return LivingRun(
        ArtifactPrefix(metadata["namespace"], metadata["name"], metadata["uid"], attempt),
        frozenset(number for number in (attempt, stored) if number),
        status.get("phase") == Phase.COMPLETED,
    )
