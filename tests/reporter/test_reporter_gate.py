"""The gate of published results: judged by what the store has of both evaluations, whatever goes wrong."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
from journal_files import FolderStore, OneEvaluation, RecordedLog, make_run_input
from reporter_process import RunDirectoryWriter

from lmms_eval_core import layout
from lmms_eval_core.compare.columns import pair_documents, sum_pairs
from lmms_eval_core.kube.client import KubeClient, Object, Resource
from lmms_eval_core.kube.errors import NotFound, Unavailable
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.quality_gate.policy import QualityGate
from lmms_eval_core.quality_gate.verdict import GatedMetric, GateReason, GateResult, GateVerdict, judge
from lmms_eval_core.sample_index.writer import SampleIndexWriter
from lmms_eval_core.sample_scoring import read_sampled_task
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter.gate_columns import read_task_columns
from lmms_eval_reporter.gate_report import GATE_BYTES, build_gate_status
from lmms_eval_reporter.session import Session
from lmms_eval_reporter.settings import Settings
from lmms_eval_reporter.texts import measure_wire_size

BASELINE = ArtifactPrefix("team", "main", "11111111-0000-4000-8000-000000000000", 2)
TASK = "mme"
DOCUMENTS = 300
MARGIN = 0.03
Values = list[int]


def write_values(lost: int, won: int = 0) -> tuple[Values, Values]:
    """Values of the baseline and of a candidate that loses and wins so many documents."""
    baseline = [1] * (DOCUMENTS - won) + [0] * won
    return baseline, [0] * lost + [1] * (DOCUMENTS - lost)


def make_sample(document: int, value: int, target: str = "a") -> bytes:
    return json.dumps(
        {"doc_id": document, "acc": value, "target": target, "input": "?", "filtered_resps": "x"}
    ).encode()


def make_results(values: Values) -> Object:
    counts = {"original": len(values), "effective": len(values)}
    return {
        "results": {TASK: {"alias": TASK, "acc,none": sum(values) / len(values)}},
        "n-samples": {TASK: counts},
        "versions": {TASK: 1},
    }


class TwoEvaluations(OneEvaluation):
    """A client of an API server that has a baseline as well."""

    def __init__(self) -> None:
        super().__init__()
        self.object["metadata"]["namespace"] = "team"
        self.error: Exception | None = None
        self.baseline: Object | None = {
            "metadata": {"name": BASELINE.name, "namespace": "team", "uid": BASELINE.uid},
            "spec": {"model": "m", "tasks": [TASK]},
            "status": {"phase": "Completed", "artifacts": {"uri": f"s3://bucket/x/{BASELINE.path}"}},
        }

    async def get(self, resource: Resource, name: str) -> Object:
        """Read one of the two."""
        if name == self.object["metadata"]["name"]:
            return self.object
        if self.error is not None:
            raise self.error
        if self.baseline is None:
            raise NotFound(f"{name} not found")
        return self.baseline


class GatedRun:
    """A session whose run has a gate."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files, self.store = RunDirectoryWriter(path / "run"), FolderStore(path / "store")
        self.evaluations, self.log, self.stop = TwoEvaluations(), RecordedLog(), asyncio.Event()

    async def store_baseline(self, values: Values) -> None:
        results = make_results(values)
        writer = SampleIndexWriter(read_sampled_task(results, TASK))
        for document, value in enumerate(values):
            writer.add(make_sample(document, value), 0, 0)
        await self.store.put(BASELINE.file(layout.RESULTS_FILE), json.dumps(results).encode())
        await self.store.put(BASELINE.file(layout.index_file(layout.sample_file(TASK))), writer.finish())

    def write_success(self, values: Values, **changes: Any) -> None:
        lines = "".join(make_sample(*item, **changes).decode() + "\n" for item in enumerate(values))
        name = "20261128_070000"
        self.files.write_outcome(
            "Succeeded",
            0,
            results=self.files.write_output(f"{name}_results.json", json.dumps(make_results(values))),
            samples={TASK: self.files.write_output(f"{name}_samples_{TASK}.jsonl", lines)},
            answers={"samples": len(values)},
        )

    async def run(self, values: Values, *, gate: Object | None = None, **changes: Any) -> Object:
        """Let the session publish a run with these values; return `status.gate`."""
        wanted = gate or {"baseline": {"evaluation": "main"}, "rules": [{"maxDrop": MARGIN}]}
        settings = Settings(
            run=make_run_input(gate=QualityGate.model_validate(wanted)),
            store=StoreSettings(url="file:///unused"),
            directory=self.files.path,
            poll_seconds=0.01,
        )
        client = cast(KubeClient, self.evaluations)
        session = Session(settings, store=self.store, client=client, stop=self.stop, log=self.log)
        task = asyncio.create_task(session.run())
        await self.files.wait_for_file("ready")
        self.write_success(values, **changes)
        assert await self.files.wait_for_file("published") == "published"
        self.stop.set()
        await asyncio.wait_for(task, 20)
        assert self.status["scores"]
        return cast(Object, self.status["gate"])

    @property
    def status(self) -> Object:
        return cast(Object, self.evaluations.object["status"])

    def store_folder(self) -> Path:
        """The folder of the baseline's files."""
        return self.path / "store" / BASELINE.path

    @property
    def prefix(self) -> ArtifactPrefix:
        metadata = self.evaluations.object["metadata"]
        return ArtifactPrefix("team", metadata["name"], metadata["uid"], 1)


@pytest.fixture
def run(tmp_path: Path) -> GatedRun:
    return GatedRun(tmp_path)


@pytest.mark.parametrize(
    ("lost", "won", "verdict", "reason"),
    [(0, 0, "Passed", "NotWorse"), (40, 0, "Failed", "Worse"), (9, 3, "Inconclusive", "NotEnoughEvidence")],
)
async def test_three_verdicts(run: GatedRun, lost: int, won: int, verdict: str, reason: str) -> None:
    baseline, candidate = write_values(lost, won)
    await run.store_baseline(baseline)
    gate = await run.run(candidate)
    assert (gate["verdict"], gate["reason"]) == (verdict, reason), gate["message"]
    (metric,) = gate["metrics"]
    assert (metric["task"], metric["metric"], metric["documents"]) == (TASK, "acc,none", DOCUMENTS)
    assert metric["change"] == pytest.approx((won - lost) / DOCUMENTS)
    assert metric["lower"] < metric["change"] + 1e-9 < metric["upper"] + 2e-9
    pin = gate["baseline"]
    assert (pin["name"], pin["uid"], pin["attempt"], len(pin["digest"])) == ("main", BASELINE.uid, 2, 64)


async def test_results_are_there_before_they_are_judged(run: GatedRun) -> None:
    baseline, candidate = write_values(0)
    await run.store_baseline(baseline)
    await run.run(candidate)
    first = next(status for status in run.evaluations.written if "scores" in status)
    assert "gate" not in first
    assert [key.rpartition("/a1/")[2] for key in run.store.puts if "gate" in key] == [
        f"gate/{TASK}.idx",
        layout.GATE_FILE,
    ]


async def test_the_verdict_can_be_computed_again_without_the_baseline(run: GatedRun) -> None:
    baseline, candidate = write_values(12, 5)
    await run.store_baseline(baseline)
    gate = await run.run(candidate)
    own = await read_task_columns(run.store, run.prefix, TASK, ["acc"])
    copied = run.prefix.file(layout.gate_columns_file(layout.sample_file(TASK)))
    # Where `read_task_columns` looks for a baseline's index.
    index = await run.store.get(copied, max_bytes=2**20)
    assert b"filtered" not in index
    await run.store.put(ArtifactPrefix("team", "copy", "2" * 8, 1).file(f"index/{TASK}.idx"), index)
    copy = await read_task_columns(run.store, ArtifactPrefix("team", "copy", "2" * 8, 1), TASK, ["acc"])
    pairs = pair_documents(copy.select_documents("none"), own.select_documents("none"))
    sums = sum_pairs(pairs, *(side.select_values("none", "acc") for side in (copy, own)), lower_is_better=False)
    assert (sums.lost, sums.won) == (12, 5)
    assert sums.compare(level=0.95).limits == pytest.approx((gate["metrics"][0]["lower"], gate["metrics"][0]["upper"]))
    report = json.loads(await run.store.get(run.prefix.file(layout.GATE_FILE), max_bytes=2**20))
    assert report["baseline"] == gate["baseline"] and report["metrics"][0]["rule"]["maxDrop"] == MARGIN
    assert len(report["metrics"][0]["flips"]) == 17


@pytest.mark.parametrize(
    ("spoil", "reason", "words"),
    [
        (lambda run: setattr(run.evaluations, "baseline", None), "BaselineUnavailable", "main does not exist"),
        (
            lambda run: run.evaluations.baseline["status"].update(phase="Failed"),
            "BaselineUnavailable",
            "main has no results: it is Failed",
        ),
        (lambda run: run.evaluations.baseline["status"].pop("artifacts"), "BaselineUnavailable", "main has no files"),
        (
            lambda run: run.evaluations.baseline["metadata"].update(uid="0" * 36),
            "BaselineUnavailable",
            "results.json",
        ),
        (lambda run: setattr(run.evaluations, "error", Unavailable("no answer")), "BaselineUnavailable", "no answer"),
        (
            lambda run: run.evaluations.baseline["spec"].update(predictOnly=True),
            "NotComparable",
            "main only predicts",
        ),
        (
            lambda run: run.evaluations.baseline["status"].update(suspect={"samples": 300, "failed": 30}),
            "ResultsSuspect",
            "30 are error texts",
        ),
        (lambda run: (run.store_folder() / f"index/{TASK}.idx").unlink(), "NotComparable", "not indexed"),
        (
            lambda run: (run.store_folder() / f"index/{TASK}.idx").write_bytes(b"x" * 99),
            "NotComparable",
            "cannot be compared",
        ),
        (
            lambda run: (run.store_folder() / "results.json").write_text("["),
            "BaselineUnavailable",
            "the results file is not JSON",
        ),
    ],
)
async def test_what_is_missing_leaves_the_gate_open_and_the_results_published(
    run: GatedRun, spoil: Any, reason: str, words: str
) -> None:
    baseline, candidate = write_values(0)
    await run.store_baseline(baseline)
    spoil(run)
    gate = await run.run(candidate)
    assert (gate["verdict"], gate["reason"]) == ("Inconclusive", reason), gate["message"]
    assert words in gate["message"]


async def test_a_floor_fails_without_the_baseline_too(run: GatedRun) -> None:
    gate = {"baseline": {"evaluation": "main"}, "rules": [{"maxDrop": MARGIN, "floor": 0.95}]}
    found = await run.run(write_values(30)[1], gate=gate)
    assert (found["verdict"], found["reason"]) == ("Failed", "BelowFloor")


async def test_empty_answers_of_a_model_that_collapsed_fail(run: GatedRun) -> None:
    baseline, candidate = write_values(DOCUMENTS)
    await run.store_baseline(baseline)
    run.evaluations.object["status"]["suspect"] = {"samples": DOCUMENTS, "empty": DOCUMENTS}
    assert (await run.run(candidate))["verdict"] == "Failed"


async def test_other_documents_are_not_compared(run: GatedRun) -> None:
    baseline, candidate = write_values(0)
    await run.store_baseline(baseline)
    gate = await run.run(candidate, target="another")
    assert (gate["verdict"], gate["reason"]) == ("Inconclusive", "NotComparable")
    assert "these are other ones" in gate["message"]


async def test_a_floor_needs_no_baseline(run: GatedRun) -> None:
    gate = await run.run(write_values(30)[1], gate={"rules": [{"floor": 0.95}]})
    assert (gate["verdict"], gate["reason"]) == ("Failed", "BelowFloor") and "baseline" not in gate


async def test_a_store_that_is_slow_ends_the_judging(run: GatedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline, candidate = write_values(0)
    await run.store_baseline(baseline)
    get = run.store.get

    async def wait(key: str, *, max_bytes: int) -> bytes:
        if key.startswith(BASELINE.path):
            await asyncio.Event().wait()
        return await get(key, max_bytes=max_bytes)

    monkeypatch.setattr(run.store, "get", wait)
    monkeypatch.setattr("lmms_eval_reporter.session.GATE_SECONDS", 0.2)
    gate = await run.run(candidate)
    assert (gate["reason"], gate["message"]) == (
        "BaselineUnavailable",
        "reading and comparing both evaluations took too long",
    )


def test_the_status_has_what_fits() -> None:
    gate = QualityGate.model_validate({"rules": [{"floor": 0.5}]})
    numbers = [0.1 if place == 150 else 1.0 for place in range(200)]
    metrics = [GatedMetric(f"{'t' * 150}{place}", "acc,none", number) for place, number in enumerate(numbers)]
    result = judge(gate, metrics)
    status = build_gate_status(gate, result, None)
    assert status.metrics is not None and status.metrics[0].verdict == "Failed"
    assert status.omitted == 200 - len(status.metrics) > 0
    assert measure_wire_size(status.to_wire()) <= GATE_BYTES
    hostile = GateResult(GateVerdict.FAILED, GateReason.WORSE, "<\x1b[31m" * 2000)
    assert measure_wire_size(build_gate_status(gate, hostile, None).to_wire()) <= GATE_BYTES
