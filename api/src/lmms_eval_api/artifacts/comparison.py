"""Compares jobs: reads their results and the columns of their indexes, and has a worker process compute the rest.

Jobs that have ended never change, so that what their samples say of each other is kept.
"""

import asyncio
import hashlib
import pickle
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final, NamedTuple, ParamSpec, TypeVar

from lmms_eval_api.artifacts.byte_cache import ByteCache
from lmms_eval_api.artifacts.comparison_body import ComparedJob, ComparedPair, ComparisonOptions, render_comparison
from lmms_eval_api.artifacts.results import ResultsCache
from lmms_eval_api.artifacts.sample_index import NOT_INDEXED, OpenIndex, SampleIndexReader
from lmms_eval_api.artifacts.store import UnusableArtifact
from lmms_eval_api.artifacts.stored_files import StoredFiles
from lmms_eval_api.artifacts.worker import TooCostly, Worker
from lmms_eval_api.jobs.job_info import list_suspicions
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_core import layout
from lmms_eval_core.compare.columns import (
    DocumentColumns,
    MetricSums,
    PairCounts,
    ValueColumns,
    pair_documents,
    sum_pairs,
)
from lmms_eval_core.compare.facts import RunFacts, TaskFacts, read_run_facts, read_task_facts
from lmms_eval_core.compare.flips import FlipKind, PairedRows, RunColumns, find_flips
from lmms_eval_core.compare.tasks import TaskEvidence
from lmms_eval_core.results_file import parse_results
from lmms_eval_core.sample_index.format import DamagedIndex
from lmms_eval_core.store.errors import ObjectMissing

P = ParamSpec("P")
T = TypeVar("T")

KEPT_BYTES: Final = 16 * 1024 * 1024
# Tasks that are read at once: small ones, and those of several zones, of which one takes up to 40 MiB.
SMALL_AT_ONCE: Final = 8
LARGE_AT_ONCE: Final = 1
COMPARISONS_AT_ONCE: Final = 4


class CompletedJob(NamedTuple):
    """A completed job, and the files that it has left."""

    job: JobSnapshot
    files: StoredFiles


class WantedComparison(NamedTuple):
    """Which jobs are compared: each of the candidates with each of the baselines."""

    baselines: Sequence[CompletedJob]
    candidates: Sequence[CompletedJob]
    options: ComparisonOptions


class FlipQuery(NamedTuple):
    """Of which metric, under which of a task's filters, documents are looked for that changed."""

    metric: str
    filter_name: str


class _Run(NamedTuple):
    files: StoredFiles
    facts: RunFacts
    shown: ComparedJob


class _Column(NamedTuple):
    """An index with the packed columns of its documents."""

    opened: OpenIndex
    flags: list[bytes]
    document: list[bytes]
    filter: list[bytes]
    target: list[bytes]
    input: list[bytes]
    cluster: list[bytes]


class _NoColumns(Exception):
    """There are no samples to compare; the message is a sentence."""


class Comparer:
    """Every method raises StoreError.

    The worker process is one of its own: pairing a million documents takes seconds, in which pages are read on.
    """

    def __init__(self, results: ResultsCache, indexes: SampleIndexReader, worker: Worker) -> None:
        self._results = results
        self._indexes = indexes
        self._worker = worker
        self._turns = asyncio.Semaphore(COMPARISONS_AT_ONCE)
        self._small = asyncio.Semaphore(SMALL_AT_ONCE)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._kept = ByteCache(KEPT_BYTES)

    async def compare(self, wanted: WantedComparison) -> bytes:
        """Return a JobComparison as JSON."""
        async with self._turns:
            jobs = [*wanted.baselines, *wanted.candidates]
            runs = [await self._read_run(job) for job in jobs]
            baselines, candidates = runs[: len(wanted.baselines)], runs[len(wanted.baselines) :]
            pairs = [(baseline, candidate) for candidate in candidates for baseline in baselines]
            reruns = [pair for pair in combinations(runs, 2) if pair[1].facts.is_rerun_of(pair[0].facts)]
            compared = [await self._compare_pair(pair) for pair in pairs]
            compared_reruns = [await self._compare_pair(pair) for pair in reruns]
            shown = [run.shown for run in runs]
            return await self._call(
                runs[0].files.results_key, render_comparison, shown, compared, compared_reruns, wanted.options
            )

    async def find_flips(self, indexes: tuple[OpenIndex, OpenIndex], wanted: FlipQuery) -> dict[FlipKind, PairedRows]:
        """Return which rows of a baseline and a candidate changed. Raises LookupError for what one of them lacks."""
        key = repr([*(index.key for index in indexes), *wanted])
        packed = self._kept.get(key)
        if packed is None:
            async with self._turns, self._large:
                packed = pickle.dumps(await self._read_flips(indexes, wanted))
            self._kept.put(key, packed)
        found: dict[FlipKind, PairedRows] = pickle.loads(packed)
        return found

    async def _read_flips(self, indexes: tuple[OpenIndex, OpenIndex], wanted: FlipQuery) -> dict[FlipKind, PairedRows]:
        metrics = {metric.name: metric for metric in indexes[1].header.metrics}
        if not all(_has_column(index, wanted) for index in indexes):
            raise LookupError
        runs = []
        for index in indexes:
            column, number = await self._read_documents(index), index.header.filters.index(wanted.filter_name)
            values = await self._read_values(column, number, wanted.metric)
            runs.append(RunColumns(_make_documents(column, number), values))
        lower = metrics[wanted.metric].lower_is_better
        return await self._call(indexes[1].key, find_flips, *runs, lower_is_better=lower)

    async def _read_run(self, found: CompletedJob) -> _Run:
        key = found.files.results_key
        text = (await self._results.get(found.files)).text
        tasks = await self._call(key, read_facts, text)
        document = found.job.document
        facts = read_run_facts(document, tasks, suspect=" ".join(list_suspicions(document.get("status", {}))))
        digest = hashlib.sha256(text).hexdigest()
        shown = ComparedJob(found.job.name, found.job.uid, found.files.prefix.attempt, facts.model, digest)
        return _Run(found.files, facts, shown)

    async def _compare_pair(self, pair: tuple[_Run, _Run]) -> ComparedPair:
        key = "|".join(f"{run.files.prefix.path}{run.shown.digest}" for run in pair)
        packed = self._kept.get(key)
        if packed is None:
            packed = pickle.dumps(await self._read_evidence(pair))
            self._kept.put(key, packed)
        evidence: dict[str, TaskEvidence] = pickle.loads(packed)
        return ComparedPair(pair[0].facts, pair[1].facts, evidence)

    async def _read_evidence(self, pair: tuple[_Run, _Run]) -> dict[str, TaskEvidence]:
        old, new = (run.facts.tasks for run in pair)
        tasks = [name for name in old if name in new and not (old[name].is_group or new[name].is_group)]
        found = await asyncio.gather(*(self._read_task(pair, old[name], new[name]) for name in tasks))
        return dict(zip(tasks, found, strict=True))

    async def _read_task(self, pair: tuple[_Run, _Run], old: TaskFacts, new: TaskFacts) -> TaskEvidence:
        try:
            async with self._small:
                indexes = [await self._open(run, old.name) for run in pair]
                if max(len(index.header.zones) for index in indexes) <= 1:
                    return await self._pair_task(indexes, old, new)
            async with self._large:
                return await self._pair_task(indexes, old, new)
        except _NoColumns as error:
            return TaskEvidence(obstacle=str(error))
        except UnusableArtifact as error:
            return TaskEvidence(obstacle=f"The samples cannot be compared: {error.why}.")

    async def _open(self, run: _Run, task: str) -> OpenIndex:
        samples = layout.sample_file(task)
        name = run.facts.name
        if samples not in run.files.files and not run.files.truncated:
            raise _NoColumns(f"{name} has no samples of this task.")
        try:
            key = run.files.prefix.file(layout.index_file(samples))
            index = await self._indexes.open(key, samples=run.files.prefix.file(samples))
        except ObjectMissing:
            raise _NoColumns(f"The samples of {name} are not indexed: {NOT_INDEXED}.") from None
        if index.header.omitted:
            raise _NoColumns(f"The samples of {name} are not indexed: {index.header.omitted}.")
        return index

    async def _pair_task(self, indexes: Sequence[OpenIndex], old: TaskFacts, new: TaskFacts) -> TaskEvidence:
        left, right = [await self._read_documents(index) for index in indexes]
        pairs: dict[str, PairCounts] = {}
        sums: dict[str, MetricSums] = {}
        for name in left.opened.header.filters:
            if name not in right.opened.header.filters:
                continue
            sides = [(run, run.opened.header.filters.index(name)) for run in (left, right)]
            paired = await self._call(
                left.opened.key, pair_documents, *(_make_documents(run, number) for run, number in sides)
            )
            pairs[name] = paired.counts
            for metric in old.list_common_metrics(new, name):
                if any(index.header.find_metric(metric.name) is None for index in indexes):
                    continue
                columns = [await self._read_values(run, number, metric.name) for run, number in sides]
                sums[metric.key] = await self._call(
                    left.opened.key, sum_pairs, paired, *columns, lower_is_better=metric.lower_is_better
                )
        return TaskEvidence(pairs, sums)

    async def _read_documents(self, index: OpenIndex) -> _Column:
        find = index.header.find_column
        flags, _, document, filters = await self._indexes.read_adjacent(index, find("flags"), 4)
        hashes = await self._indexes.read_adjacent(index, find("target"), 3)
        return _Column(index, flags, document, filters, *hashes)

    async def _read_values(self, run: _Column, filter_number: int, metric: str) -> ValueColumns:
        place = run.opened.header.find_metric(metric)
        assert place is not None
        (values,) = await self._indexes.read_adjacent(run.opened, place, 1)
        return ValueColumns(run.opened.rows, filter_number, run.filter, run.flags, values)

    async def _call(self, key: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._worker.call(function, *args, **kwargs)
        except DamagedIndex as error:
            raise UnusableArtifact(key, f"the index of these samples {error}") from None
        except TooCostly as error:
            raise UnusableArtifact(key, f"comparing them {error}") from None


def read_facts(text: bytes) -> dict[str, TaskFacts]:
    """Return what a results file says of its tasks; for the worker process."""
    return read_task_facts(parse_results(text))


def _make_documents(run: _Column, filter_number: int) -> DocumentColumns:
    return DocumentColumns(run.opened.rows, filter_number, run.document, run.filter, run.target, run.input, run.cluster)


def _has_column(index: OpenIndex, wanted: FlipQuery) -> bool:
    return wanted.filter_name in index.header.filters and index.header.find_metric(wanted.metric) is not None
