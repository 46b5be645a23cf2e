"""The life of a reporter: make sure that publishing will be possible, accompany the run, publish, acknowledge, wait for SIGTERM.

evaluation read, store written --> an earlier attempt is complete in the store? --yes--> its status --> `published`, ready
                                      |no
                                    ready --> progress --> outcome --> files --> status --> `published`
the attempt is over (deleted, replaced, ended) at any point: `published` and ready, so that nothing waits for us
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

import yaml

from lmms_eval_core import run
from lmms_eval_core.kube.client import KubeClient, Object
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.run import Stage, write_atomically
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter.earlier import Completion, finished_before
from lmms_eval_reporter.files import RunDirectory
from lmms_eval_reporter.logs import Log
from lmms_eval_reporter.patience import Patience, time_limit
from lmms_eval_reporter.probe import READY_FILE
from lmms_eval_reporter.publish import Publisher
from lmms_eval_reporter.settings import Settings
from lmms_eval_reporter.status import Over, StatusWriter
from lmms_eval_reporter.upload import Uploader
from lmms_eval_reporter.watch import Watch

# The rest of the metadata is bookkeeping, and annotations may repeat the whole object.
KEPT_METADATA: Final = ("name", "namespace", "uid", "creationTimestamp", "labels")


class Prepared(NamedTuple):
    """What is known before the evaluator starts."""

    evaluation: str
    earlier: Completion | None


class Session:
    """One attempt, from the start of its pod to the end."""

    def __init__(self, settings: Settings, *, store: ObjectStore, client: KubeClient, stop: asyncio.Event, log: Log) -> None:
        self._settings = settings
        self._store = store
        self._stop = stop
        self._log = log
        self._stage = Stage.STARTING
        self._directory = RunDirectory(settings.directory)
        self._status = StatusWriter(client, settings.run)
        self._patience = Patience(log, self._trouble)
        self._prefix = ArtifactPrefix(settings.run.namespace, settings.run.name, settings.run.uid, settings.run.attempt)
        self._uploader = Uploader(store, self._prefix, limits=settings.limits, patience=self._patience, log=log)
        self._publisher = Publisher(settings.run, status=self._status, uploader=self._uploader, patience=self._patience)

    async def attend(self) -> None:
        """Everything; returns after SIGTERM."""
        try:
            await self._attend()
        except Over as over:
            self._acknowledge(str(over))
        except TimeoutError:
            self._log("gave up", stage=self._stage, after_sigterm=self._stop.is_set())
        await self._stop.wait()

    async def _attend(self) -> None:
        async with time_limit(None, stop=self._stop, grace=0):
            prepared = await self._prepare()
        if prepared.earlier is None:
            self._ready()
            await self._accompany(prepared.evaluation)
        else:
            await self._publish_earlier(prepared.earlier)

    async def _prepare(self) -> Prepared:
        found = await self._patience.until_done(self._status.evaluation, "reading the evaluation")
        await self._patience.until_done(self._uploader.probe, "writing to the object store")
        earlier = await self._patience.until_done(
            lambda: finished_before(self._store, self._prefix), "looking for earlier results"
        )
        return Prepared(as_yaml(found), earlier)

    async def _accompany(self, evaluation: str) -> None:
        watch = Watch(self._directory, self._status, self._settings, stop=self._stop, log=self._log)
        ending = await watch.ending()
        self._log("run ended", reason=ending.outcome.reason, exit_code=ending.outcome.exit_code)
        async with self._time_to_publish():
            await self._publisher.ending(self._directory, ending, last=watch.last, evaluation=evaluation)
        self._acknowledge("published")

    async def _publish_earlier(self, earlier: Completion) -> None:
        async with self._time_to_publish():
            await self._publisher.earlier(earlier)
        self._acknowledge(f"attempt {earlier.attempt} had finished")

    def _time_to_publish(self) -> AbstractAsyncContextManager[None]:
        self._stage = Stage.PUBLISHING
        return time_limit(self._settings.run.publish_timeout_seconds, stop=self._stop, grace=self._settings.grace_seconds)

    async def _trouble(self, error: Exception) -> None:
        await self._publisher.trouble(error, self._stage)

    def _acknowledge(self, why: str) -> None:
        self._say(run.PUBLISHED_FILE, why)
        # Where the evaluator has not started, it may now, and finds that there is nothing to run.
        self._ready()

    def _ready(self) -> None:
        if not (self._settings.directory / READY_FILE).exists():
            self._say(READY_FILE, "the evaluator may start")

    def _say(self, name: str, content: str) -> None:
        try:
            write_atomically(self._settings.directory / name, content + "\n")
        except OSError as error:
            # The user's code can spoil the run directory, but only its own run suffers.
            self._log("cannot write", file=name, error=error.strerror)
        else:
            self._log(name, why=content)


def as_yaml(evaluation: Object) -> str:
    """What was asked for, as it can be applied again."""
    metadata = {name: value for name, value in evaluation["metadata"].items() if name in KEPT_METADATA}
    kept = {"apiVersion": evaluation["apiVersion"], "kind": evaluation["kind"], "metadata": metadata, "spec": evaluation["spec"]}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
