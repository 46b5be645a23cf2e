"""Judges the quality gate of an attempt whose results and indexes are in the store.

It comes after publishing, as the indexes do, and before `published`, so that the evaluation ends with its verdict. What
goes wrong here makes the verdict Inconclusive and never keeps the results waiting.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

from lmms_eval_core import layout, run
from lmms_eval_core.compare.columns import Flip, MetricSums, PairCounts, pair_documents, sum_pairs
from lmms_eval_core.compare.facts import RunFacts, TaskFacts, read_run_facts, read_task_facts
from lmms_eval_core.compare.findings import list_run_findings
from lmms_eval_core.compare.tasks import TaskComparison, TaskEvidence, compare_task
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object
from lmms_eval_core.kube.errors import KubeError, NotFound
from lmms_eval_core.layout import ArtifactPrefix, parse_attempt
from lmms_eval_core.phases import Phase
from lmms_eval_core.quality_gate.metrics import explain_failures, list_gated_metrics
from lmms_eval_core.quality_gate.policy import QualityGate
from lmms_eval_core.quality_gate.verdict import GateReason, Obstacle, find_rule, judge
from lmms_eval_core.results_file import InvalidResults, parse_results
from lmms_eval_core.sample_index.format import DamagedIndex
from lmms_eval_core.status import GateBaselineStatus, GateStatus
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter import texts
from lmms_eval_reporter.gate_columns import (
    NoColumns,
    TaskColumns,
    build_copy,
    compute_digest,
    read_task_columns,
)
from lmms_eval_reporter.gate_report import build_gate_file, build_gate_status, build_open_status
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.status_writer import AttemptSuperseded, StatusWriter

MAX_ERROR: Final = 300


class StoredRun(NamedTuple):
    """A run in the store: its facts, its results file as it is, and where its files are."""

    facts: RunFacts
    results: bytes
    prefix: ArtifactPrefix


class ComparedTask(NamedTuple):
    """A task in both runs, and a copy of the columns of the baseline that were looked at."""

    comparison: TaskComparison
    copy: bytes = b""


class Unavailable(Exception):
    """The baseline cannot be compared with; the message is a sentence."""


class GateJudge:
    """Judges by what the store has of both evaluations."""

    def __init__(self, store: ObjectStore, client: KubeClient, status: StatusWriter, *, log: ReporterLog) -> None:
        self._store = store
        self._client = client
        self._status = status
        self._log = log

    async def judge(self, gate: QualityGate, *, limit: AbstractAsyncContextManager[None]) -> GateStatus:
        """Return the verdict on what the status says is stored. Raises AttemptSuperseded alone."""
        try:
            async with limit:
                return await self._judge(gate, await self._status.read_evaluation())
        except AttemptSuperseded:
            raise
        except TimeoutError:
            obstacle = Obstacle(GateReason.BASELINE_UNAVAILABLE, "reading and comparing both evaluations took too long")
        except (StoreError, KubeError) as error:
            obstacle = Obstacle(GateReason.BASELINE_UNAVAILABLE, str(error))
        except Exception as error:  # noqa: BLE001 - the run is published, and nothing here may change that
            obstacle = Obstacle(GateReason.NOT_COMPARABLE, f"{type(error).__name__}: {error}")
        self._log("gate not judged", error=texts.clean_head(obstacle.message, MAX_ERROR))
        return build_open_status(gate, obstacle)

    async def _judge(self, gate: QualityGate, own: Object) -> GateStatus:
        candidate = await self._read_run(own)
        prefix = candidate.prefix
        missing: Obstacle | None = None
        tasks: dict[str, ComparedTask] = {}
        pin: GateBaselineStatus | None = None
        if gate.baseline is not None:
            try:
                baseline = await self._read_baseline(gate.baseline.evaluation)
                tasks = await self._compare(gate, baseline, candidate)
                pin = self._pin(baseline, tasks)
            except (Unavailable, StoreError, KubeError, InvalidResults) as error:
                # A floor needs no baseline.
                missing = Obstacle(GateReason.BASELINE_UNAVAILABLE, str(error))
        name = gate.baseline.evaluation if gate.baseline is not None else ""
        comparisons = [task.comparison for task in tasks.values()]
        metrics = list(list_gated_metrics(candidate.facts, comparisons, baseline=name, missing=missing))
        result = judge(gate, metrics)
        flips = _collect_flips(comparisons)
        await self._store_files(prefix, tasks, build_gate_file(gate, result, pin, flips))
        return build_gate_status(gate, result, pin)

    async def _read_baseline(self, name: str) -> StoredRun:
        """Return the completed evaluation of this name. Raises Unavailable."""
        try:
            found = await self._client.get(EVALUATIONS, name)
        except NotFound:
            raise Unavailable(f"{name} does not exist") from None
        phase = found.get("status", {}).get("phase", Phase.QUEUED)
        if phase != Phase.COMPLETED:
            raise Unavailable(f"{name} has no results: it is {phase}")
        return await self._read_run(found)

    async def _read_run(self, document: Object) -> StoredRun:
        """Return a run by its object, of whose texts none is part of a key."""
        metadata, status = document["metadata"], document.get("status", {})
        attempt = parse_attempt(str((status.get("artifacts") or {}).get("uri", "")))
        if attempt is None:
            raise Unavailable(f"{metadata['name']} has no files")
        prefix = ArtifactPrefix(metadata["namespace"], metadata["name"], metadata["uid"], attempt)
        content = await self._store.get(prefix.file(layout.RESULTS_FILE), max_bytes=run.MAX_RESULTS_BYTES)
        tasks = read_task_facts(parse_results(content))
        facts = read_run_facts(document, tasks, suspect=explain_failures(status.get("suspect")))
        return StoredRun(facts, content, prefix)

    async def _compare(self, gate: QualityGate, baseline: StoredRun, candidate: StoredRun) -> dict[str, ComparedTask]:
        """Return the tasks that the rules are about, as far as both evaluations have them."""
        found = {}
        for name, keys in _list_wanted(gate, candidate.facts).items():
            if name in baseline.facts.tasks:
                found[name] = await self._compare_task(gate, (baseline, candidate), name, keys)
        return found

    async def _compare_task(
        self, gate: QualityGate, runs: tuple[StoredRun, StoredRun], name: str, keys: set[str]
    ) -> ComparedTask:
        facts = runs[0].facts.tasks[name], runs[1].facts.tasks[name]
        evidence, copy = TaskEvidence(), b""
        if not any(task.is_group for task in facts):
            try:
                columns = [
                    await read_task_columns(self._store, stored.prefix, name, {key.partition(",")[0] for key in keys})
                    for stored in runs
                ]
                evidence = await asyncio.to_thread(_collect_evidence, columns[0], columns[1], facts, keys)
                copy = await asyncio.to_thread(build_copy, columns[0])
            except (NoColumns, DamagedIndex) as error:
                evidence = TaskEvidence(obstacle=f"The samples cannot be compared: {error}.")
        findings = list(list_run_findings(runs[0].facts, runs[1].facts))
        both = runs[0].facts, runs[1].facts
        return ComparedTask(compare_task(both, facts, evidence, run_findings=findings, level=gate.confidence), copy)

    def _pin(self, baseline: StoredRun, tasks: Mapping[str, ComparedTask]) -> GateBaselineStatus:
        copies = [tasks[name].copy for name in sorted(tasks)]
        prefix = baseline.prefix
        return GateBaselineStatus(
            name=prefix.name, uid=prefix.uid, attempt=prefix.attempt, digest=compute_digest(baseline.results, copies)
        )

    async def _store_files(self, prefix: ArtifactPrefix, tasks: Mapping[str, ComparedTask], report: str) -> None:
        """Store what the verdict was made of; the verdict stands without."""
        files = {
            layout.gate_columns_file(layout.sample_file(name)): task.copy for name, task in tasks.items() if task.copy
        }
        try:
            for name, content in (files | {layout.GATE_FILE: report.encode()}).items():
                await self._store.put(prefix.file(name), content)
        except StoreError as error:
            self._log("gate not stored", error=texts.clean_head(str(error), MAX_ERROR))


def _list_wanted(gate: QualityGate, candidate: RunFacts) -> dict[str, set[str]]:
    """Return the metrics, by task, that a rule compares with the baseline."""
    wanted: dict[str, set[str]] = {}
    for metric in list_gated_metrics(candidate, [], baseline=""):
        rule = find_rule(gate, metric)
        if rule is not None and rule.has_margin:
            wanted.setdefault(metric.task, set()).add(metric.key)
    return wanted


def _collect_evidence(
    baseline: TaskColumns, candidate: TaskColumns, facts: tuple[TaskFacts, TaskFacts], keys: Iterable[str]
) -> TaskEvidence:
    """Return what the samples say of these metrics. Raises DamagedIndex."""
    pairs: dict[str, PairCounts] = {}
    sums: dict[str, MetricSums] = {}
    for filter_name in baseline.header.filters:
        metrics = [metric for metric in facts[0].list_common_metrics(facts[1], filter_name) if metric.key in keys]
        if not metrics or filter_name not in candidate.header.filters:
            continue
        found = pair_documents(*(side.select_documents(filter_name) for side in (baseline, candidate)))
        pairs[filter_name] = found.counts
        for metric in metrics:
            if metric.name in baseline.values and metric.name in candidate.values:
                values = (side.select_values(filter_name, metric.name) for side in (baseline, candidate))
                sums[metric.key] = sum_pairs(found, *values, lower_is_better=metric.lower_is_better)
    return TaskEvidence(pairs, sums)


def _collect_flips(comparisons: Iterable[TaskComparison]) -> dict[tuple[str, str], list[Flip]]:
    return {(task.name, one.metric.key): list(one.flips) for task in comparisons for one in task.metrics}
