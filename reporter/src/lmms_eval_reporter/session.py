"""The life of a reporter: prove that publishing will be possible, watch the run, publish, wait for SIGTERM.

    read the evaluation, write to the store
      ├─ an earlier attempt is complete in the store: its status ──▶ `published`, ready
      └─ otherwise: earlier answers ──▶ ready ──▶ progress, journal, media ──▶ outcome ──▶ files, media ──▶ status
                                                                          ──▶ indexes ──▶ gate ──▶ `published`

Where the attempt is superseded (deleted, replaced, ended), at any point: `published` and ready, so that nothing waits
for us.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Final, NamedTuple

import yaml

from lmms_eval_core import run
from lmms_eval_core.journal import MAX_EARLIER_ATTEMPTS, MAX_JOURNAL_BYTES
from lmms_eval_core.kube.client import KubeClient, Object
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.media import MediaPolicy
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import ResumePolicy, Stage, Timings, write_atomically
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter.earlier_attempts import EarlierAttempts, add_timings
from lmms_eval_reporter.gate_judge import GateJudge
from lmms_eval_reporter.index_upload import IndexUploader
from lmms_eval_reporter.journal_segments import Room
from lmms_eval_reporter.journal_upload import JournalUploader
from lmms_eval_reporter.media_upload import MediaUploader
from lmms_eval_reporter.probe import READY_FILE
from lmms_eval_reporter.publish import Completion, Publisher, find_completed_attempt
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import Backoff, time_limit
from lmms_eval_reporter.run_directory import RunDirectory
from lmms_eval_reporter.run_directory_watch import RunDirectoryWatch
from lmms_eval_reporter.run_files import FinishedRun, read_finished_run
from lmms_eval_reporter.settings import Settings
from lmms_eval_reporter.status_progress import StoredAnswers
from lmms_eval_reporter.status_writer import AttemptSuperseded, StatusWriter
from lmms_eval_reporter.upload import Uploader

# The rest of the metadata is bookkeeping, and annotations may repeat the whole object.
KEPT_METADATA: Final = ("name", "namespace", "uid", "creationTimestamp", "labels")
# Of the time for publishing, what the journal of a failed run may take: the status comes after it.
JOURNAL_SHARE: Final = 0.5
# For the indexes of all tasks, for which the GPU waits: a million samples take about 20 s.
INDEX_SECONDS: Final = 120.0
INDEX_GRACE_SECONDS: Final = 5.0
# For what is left of the media when all other files are stored, and for the list of them.
MEDIA_SECONDS: Final = 60.0
MEDIA_GRACE_SECONDS: Final = 10.0
DIGESTS_SECONDS: Final = 20.0
DIGESTS_GRACE_SECONDS: Final = 15.0
# For the gate, after the indexes, for which the GPU waits too: a million pairs take about 10 s.
GATE_SECONDS: Final = 60.0
GATE_GRACE_SECONDS: Final = 5.0
# For deleting the journals, once SIGTERM came: nothing depends on it.
DELETE_GRACE_SECONDS: Final = 5.0
DELETE_SECONDS: Final = 60.0


class StartState(NamedTuple):
    """What is known before the evaluator starts: the evaluation as YAML, an earlier attempt that had finished, and the
    times of all earlier ones together.
    """

    evaluation: str
    earlier: Completion | None
    timings: Timings = Timings()


class Session:
    """One attempt, from the start of its pod to the end."""

    def __init__(
        self, settings: Settings, *, store: ObjectStore, client: KubeClient, stop: asyncio.Event, log: ReporterLog
    ) -> None:
        self._settings = settings
        self._store = store
        self._client = client
        self._stop = stop
        self._log = log
        self._stage = Stage.STARTING
        self._directory = RunDirectory(settings.directory)
        self._status = StatusWriter(client, settings.run)
        self._backoff = Backoff(log, self._report_failure)
        self._prefix = ArtifactPrefix(settings.run.namespace, settings.run.name, settings.run.uid, settings.run.attempt)
        self._uploader = Uploader(store, self._prefix, limits=settings.limits, backoff=self._backoff, log=log)
        self._earlier = EarlierAttempts(store, self._prefix, backoff=self._backoff, log=log)
        self._room = Room(MAX_JOURNAL_BYTES)
        self._journal = self._make_journal_uploader()
        self._media = MediaUploader(
            self._directory,
            store,
            self._prefix,
            limits=settings.run.media,
            ranks=settings.run.processes,
            log=log,
        )
        self._watch = self._make_watch()
        self._publisher = Publisher(settings.run, status=self._status, uploader=self._uploader, backoff=self._backoff)

    async def run(self) -> None:
        """Do everything for the attempt; return after SIGTERM."""
        try:
            await self._prepare_and_publish()
        except AttemptSuperseded as superseded:
            self._acknowledge(str(superseded))
        except TimeoutError:
            self._log("gave up", stage=self._stage, after_sigterm=self._stop.is_set())
        await self._stop.wait()

    async def _prepare_and_publish(self) -> None:
        async with time_limit(None, stop=self._stop, grace=0):
            preparation = await self._prepare()
        if preparation.earlier is None:
            self._let_evaluator_start()
            await self._watch_and_publish(preparation)
        else:
            await self._publish_earlier(preparation.earlier)

    async def _prepare(self) -> StartState:
        found = await self._backoff.retry(self._status.read_evaluation, "reading the evaluation")
        await self._backoff.retry(self._uploader.probe, "writing to the object store")
        earlier = await self._backoff.retry(
            lambda: find_completed_attempt(self._store, self._prefix), "looking for earlier results"
        )
        if earlier is not None and self._has_run_of(earlier):
            # This container alone was started again: all is published again, as what comes last may lack.
            earlier = None
        state = StartState(dump_evaluation(found), earlier)
        if earlier is not None:
            return state
        # The evaluator may run already, where only this container was started again: it has read earlier answers.
        has_started = (self._settings.directory / READY_FILE).exists()
        resumes = self._settings.run.resume != ResumePolicy.NEVER
        if resumes and not has_started:
            await self._earlier.fetch_journals(self._directory, self._room)
        await self._load_media(resumes=resumes, has_started=has_started)
        return state._replace(timings=await self._earlier.sum_timings())

    def _has_run_of(self, earlier: Completion) -> bool:
        return earlier.attempt == self._prefix.attempt and read_finished_run(self._directory) is not None

    async def _load_media(self, *, resumes: bool, has_started: bool) -> None:
        """Take over what earlier attempts, and this one before the container was started again, have put into the pool.

        Their lines come from the store: those in the run directory could name files of other runs.
        """
        own = self._settings.run.attempt
        first = max(1, own - MAX_EARLIER_ATTEMPTS) if resumes else own
        if self._settings.run.media.policy != MediaPolicy.NONE:
            await self._earlier.load_media(self._media.table, range(first, own + has_started))

    async def _watch_and_publish(self, state: StartState) -> None:
        seconds = self._settings.journal_seconds
        uploads = [asyncio.create_task(part.run(seconds, stop=self._stop)) for part in (self._journal, self._media)]
        try:
            await self._watch_and_publish_beside_journal(state)
        finally:
            for upload in uploads:
                upload.cancel()

    async def _watch_and_publish_beside_journal(self, state: StartState) -> None:
        finished = await self._watch.wait_until_finished()
        outcome = finished.outcome
        self._log("run ended", reason=outcome.reason, exit_code=outcome.exit_code)
        async with self._limit_publishing():
            if outcome.reason != Reason.SUCCEEDED:
                await self._finish_journal()
            await self._publisher.publish_run(
                self._directory,
                finished,
                last=self._watch.last,
                stored=self._describe_stored(),
                timings=add_timings(state.timings, outcome.timings),
                evaluation=state.evaluation,
                before_completion=self._finish_media,
            )
        await self._send_indexes(finished)
        if outcome.reason == Reason.SUCCEEDED:
            await self._judge_gate()
        self._acknowledge("published")
        if outcome.reason == Reason.SUCCEEDED:
            # After a failure the answers are for the next attempt, or what the evaluation has in place of a result.
            await self._delete_journals()

    def _make_journal_uploader(self) -> JournalUploader:
        return JournalUploader(
            self._directory,
            self._store,
            self._prefix,
            ranks=self._settings.run.processes,
            room=self._room,
            # Who wants no samples stored gets none of what they are made of but the answers, for another attempt.
            shown=self._settings.run.harness.log_samples,
            backoff=self._backoff,
            log=self._log,
        )

    def _make_watch(self) -> RunDirectoryWatch:
        return RunDirectoryWatch(
            self._directory,
            self._status,
            self._settings,
            journal=self._journal,
            describe_stored=self._describe_stored,
            stop=self._stop,
            log=self._log,
        )

    def _describe_stored(self) -> StoredAnswers:
        return StoredAnswers(self._journal.kept, self._journal.problem, self._earlier.problem)

    async def _finish_media(self) -> None:
        """Store the rest of the media, as far as it goes at once: nothing waits for them."""
        limits = partial(time_limit, stop=self._stop)
        await self._media.finish(limits(MEDIA_SECONDS, grace=MEDIA_GRACE_SECONDS))
        await self._media.store_digests(limits(DIGESTS_SECONDS, grace=DIGESTS_GRACE_SECONDS))

    async def _send_indexes(self, finished: FinishedRun) -> None:
        """Index the samples, once the results are published; the evaluation completes when it is acknowledged."""
        limit = time_limit(INDEX_SECONDS, stop=self._stop, grace=INDEX_GRACE_SECONDS)
        uploader = IndexUploader(self._store, self._prefix, log=self._log, media=self._media.table)
        await uploader.send(self._directory, self._uploader.samples, finished.results or {}, limit=limit)

    async def _judge_gate(self) -> None:
        """Write what the gate says of the published results; the operator does where this fails."""
        gate = self._settings.run.gate
        if gate is None:
            return
        limit = time_limit(GATE_SECONDS, stop=self._stop, grace=GATE_GRACE_SECONDS)
        judge = GateJudge(self._store, self._client, self._status, log=self._log)
        verdict = await judge.judge(gate, limit=limit)
        try:
            async with time_limit(GATE_SECONDS, stop=self._stop, grace=GATE_GRACE_SECONDS):
                await self._publisher.write_gate(verdict)
        except TimeoutError:
            self._log("gate not written", verdict=verdict.verdict)

    async def _finish_journal(self) -> None:
        limit = time_limit(
            JOURNAL_SHARE * self._settings.run.publish_timeout_seconds,
            stop=self._stop,
            grace=JOURNAL_SHARE * self._settings.grace_seconds,
        )
        with suppress(TimeoutError):
            async with limit:
                await self._journal.finish()

    async def _delete_journals(self) -> None:
        """Delete what no attempt needs any more; what cannot be deleted goes with the other files of the evaluation."""
        try:
            async with time_limit(DELETE_SECONDS, stop=self._stop, grace=DELETE_GRACE_SECONDS):
                await self._journal.end_and_settle()
                await self._earlier.delete_journals()
        except (StoreError, TimeoutError) as error:
            self._log("journals not deleted", error=str(error))

    async def _publish_earlier(self, earlier: Completion) -> None:
        async with self._limit_publishing():
            await self._publisher.publish_earlier(earlier)
        await self._judge_gate()
        self._acknowledge(f"attempt {earlier.attempt} had finished")
        await self._delete_journals()

    def _limit_publishing(self) -> AbstractAsyncContextManager[None]:
        self._stage = Stage.PUBLISHING
        return time_limit(
            self._settings.run.publish_timeout_seconds, stop=self._stop, grace=self._settings.grace_seconds
        )

    async def _report_failure(self, error: Exception) -> None:
        await self._publisher.report_failure(error, self._stage, last=self._watch.last, stored=self._describe_stored())

    def _acknowledge(self, why: str) -> None:
        self._write_file(run.PUBLISHED_FILE, why)
        # Where the evaluator has not started, it may now, and finds that there is nothing to run.
        self._let_evaluator_start()

    def _let_evaluator_start(self) -> None:
        if not (self._settings.directory / READY_FILE).exists():
            self._write_file(READY_FILE, "the evaluator may start")

    def _write_file(self, name: str, content: str) -> None:
        try:
            write_atomically(self._settings.directory / name, content + "\n")
        except OSError as error:
            # The user's code can spoil the run directory, but only its own run suffers.
            self._log("cannot write", file=name, error=error.strerror)
        else:
            self._log(name, why=content)


def dump_evaluation(evaluation: Object) -> str:
    """Return the evaluation as YAML that can be applied again: the spec, and little of the metadata."""
    metadata = {name: value for name, value in evaluation["metadata"].items() if name in KEPT_METADATA}
    kept = {
        "apiVersion": evaluation["apiVersion"],
        "kind": evaluation["kind"],
        "metadata": metadata,
        "spec": evaluation["spec"],
    }
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
