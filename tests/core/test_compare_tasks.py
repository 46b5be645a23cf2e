"""From two runs to a comparison: what is refused, what is doubtful, what is a warning, and what it amounts to."""

from collections.abc import Sequence
from typing import Any

import pytest

from lmms_eval_core.compare.columns import MetricSums, OwnMean, PairCounts
from lmms_eval_core.compare.facts import SETTINGS, MetricFact, RunFacts, TaskFacts, read_run_facts, read_task_facts
from lmms_eval_core.compare.findings import Effect, Finding, FindingReason, list_run_findings
from lmms_eval_core.compare.scale import Reported, ScaleDecision, decide_scale, find_scales
from lmms_eval_core.compare.tasks import (
    Conclusion,
    MetricComparison,
    TaskComparison,
    TaskEvidence,
    compare_task,
    conclude,
)

BASE, CANDIDATE = RunFacts("main", "qwen2_5_vl"), RunFacts("ckpt", "qwen2_5_vl")
KEY = "acc,none"


def make_facts(value: float | None = 0.5, *, lower: bool = False, **fields: Any) -> TaskFacts:
    return TaskFacts("mme", version="1", metrics=(MetricFact("acc", "none", value, lower),), **fields)


def make_sums(lost: int = 0, won: int = 0, pairs: int = 1000, *, means: Sequence[float] = (0.5, 0.5)) -> MetricSums:
    mean = (won - lost) / pairs
    own = OwnMean(pairs, means[0]), OwnMean(pairs, means[1])
    return MetricSums(pairs, mean, 0.0, lost, won, True, 1.0, 0, 0.0, 0, 0, *own)


def compare(
    counts: PairCounts | None = None,
    sums: MetricSums | None = None,
    *,
    runs: tuple[RunFacts, RunFacts] = (BASE, CANDIDATE),
    facts: tuple[TaskFacts, TaskFacts] | None = None,
    obstacle: str = "",
) -> TaskComparison:
    counts = counts or PairCounts(1000)
    evidence = TaskEvidence(
        {} if obstacle else {"none": counts}, {} if obstacle else {KEY: sums or make_sums()}, obstacle
    )
    pair = facts or (make_facts(), make_facts())
    (found,) = conclude([[compare_task(runs, pair, evidence, run_findings=list(list_run_findings(*runs)))]])[0]
    return found


def list_findings(found: TaskComparison) -> list[tuple[Effect, FindingReason]]:
    own = [*found.findings, *(finding for metric in found.metrics for finding in metric.findings)]
    return [(effect, reason) for effect, reason, _ in dict.fromkeys(own)]


def describe(found: TaskComparison) -> str:
    return " ".join(finding.message for finding in (*found.findings, *found.metrics[0].findings))


def test_a_comparison() -> None:
    found = compare(sums=make_sums(60, 20, means=(0.55, 0.51)), facts=(make_facts(0.55), make_facts(0.51)))
    (metric,) = found.metrics
    assert (metric.baseline, metric.candidate, metric.is_first) == (0.55, 0.51, True)
    assert metric.difference is not None and metric.difference.estimate == -0.04
    assert (metric.conclusion, metric.lost, metric.won, metric.scale) == (Conclusion.WORSE, 60, 20, 1.0)
    assert list_findings(found) == []


REFUSED, DOUBTFUL, WARNED = Effect.REFUSED, Effect.INCONCLUSIVE, Effect.WARNING
TASKS: list[tuple[str, dict[str, Any], list[tuple[Effect, FindingReason]], str]] = [
    (
        "another version",
        {"facts": (make_facts(), make_facts()._replace(version="2"))},
        [(REFUSED, FindingReason.NOT_COMPARABLE)],
        "version 1 in main and 2 in ckpt",
    ),
    (
        "another direction",
        {"facts": (make_facts(), make_facts(lower=True))},
        [(REFUSED, FindingReason.NOT_COMPARABLE)],
        "Lower is better in one of the runs",
    ),
    (
        "other units",
        {"facts": (make_facts(0.5), make_facts(50.0))},
        [(REFUSED, FindingReason.NOT_COMPARABLE)],
        "in percent",
    ),
    ("no samples", {"obstacle": "There is no index."}, [(REFUSED, FindingReason.NOT_COMPARABLE)], "There is no index."),
    (
        "other documents",
        {"counts": PairCounts(989, other_target=11)},
        [(REFUSED, FindingReason.NOT_COMPARABLE)],
        "targets of 11 of 1,000 documents differ",
    ),
    (
        "a few other documents",
        {"counts": PairCounts(990, other_target=10)},
        [(WARNED, FindingReason.DOCUMENTS_DIFFER)],
        "10 documents with other targets are left out",
    ),
    (
        "nothing in common",
        {"counts": PairCounts(0)},
        [(REFUSED, FindingReason.NOT_COMPARABLE)],
        "no document in common",
    ),
    (
        "other prompts",
        {"counts": PairCounts(1000, other_input=11)},
        [(DOUBTFUL, FindingReason.PROMPTS_DIFFER)],
        "prompts of 11 of 1,000 documents differ.",
    ),
    ("a few other prompts", {"counts": PairCounts(1000, other_input=10)}, [], ""),
    (
        "prompts of another adapter",
        {"counts": PairCounts(1000, other_input=900), "runs": (BASE, CANDIDATE._replace(model="vllm"))},
        [(WARNED, FindingReason.PROMPTS_DIFFER)],
        "qwen2_5_vl and vllm may have prompts of their own",
    ),
    (
        "a part of it",
        {"counts": PairCounts(500, only_baseline=1500)},
        [(WARNED, FindingReason.DOCUMENTS_DIFFER)],
        "500 of 2,000 documents are in both runs",
    ),
    (
        "parts that overlap",
        {"counts": PairCounts(500, only_baseline=1500, only_candidate=6)},
        [(DOUBTFUL, FindingReason.DOCUMENTS_MISSING)],
        "6 of ckpt are not in main",
    ),
    (
        "failed answers",
        {"sums": make_sums(60, 20)._replace(unscored_candidate=11)},
        [(DOUBTFUL, FindingReason.UNSCORED)],
        "11 of 1,000 documents failed in ckpt",
    ),
    (
        "a few failed answers",
        {"sums": make_sums(60, 20)._replace(unscored_baseline=10)},
        [(WARNED, FindingReason.UNSCORED)],
        "10 of 1,000 documents failed in main",
    ),
    (
        "few clusters",
        {"counts": PairCounts(1000, clusters=9)},
        [(WARNED, FindingReason.FEW_CLUSTERS)],
        "has 9 values only",
    ),
    (
        "other examples",
        {"facts": (make_facts(fewshot="0"), make_facts(fewshot="5"))},
        [(WARNED, FindingReason.SETTINGS_DIFFER)],
        "main has 0 examples in its prompts, ckpt 5",
    ),
]


@pytest.mark.parametrize(("name", "given", "findings", "sentence"), TASKS, ids=[row[0] for row in TASKS])
def test_what_is_found(
    name: str, given: dict[str, Any], findings: list[tuple[Effect, FindingReason]], sentence: str
) -> None:
    given = {"sums": make_sums(60, 20), **given}
    found = compare(**given)
    assert list_findings(found) == findings
    assert sentence in describe(found)
    effects = {effect for effect, _ in findings}
    assert (found.metrics[0].difference is None) == (Effect.REFUSED in effects)
    is_concluded = found.metrics[0].conclusion is Conclusion.WORSE
    assert is_concluded == effects.isdisjoint({Effect.REFUSED, Effect.INCONCLUSIVE})


def list_run_reasons(baseline: RunFacts, candidate: RunFacts) -> list[tuple[Effect, str]]:
    return [(effect, message) for effect, _, message in list_run_findings(baseline, candidate)]


def test_what_concerns_all_tasks() -> None:
    assert list_run_reasons(BASE, CANDIDATE) == []
    only_predicts = CANDIDATE._replace(predict_only=True)
    assert list_run_reasons(BASE, only_predicts)[0][0] is Effect.REFUSED
    assert compare(runs=(BASE, only_predicts)).metrics[0].difference is None
    suspect = BASE._replace(suspect="3 of 4 answers are empty.")
    assert list_run_reasons(suspect, CANDIDATE) == [
        (Effect.INCONCLUSIVE, "The results of main are suspect: 3 of 4 answers are empty.")
    ]
    assert compare(sums=make_sums(60, 0), runs=(suspect, CANDIDATE)).metrics[0].conclusion is Conclusion.UNCLEAR
    other = CANDIDATE._replace(settings={"genKwargs": "temperature=1", "seed": 3}, versions={"torch": "2.9"})
    assert [message for _, message in list_run_reasons(BASE._replace(versions={"torch": "2.8"}), other)] == [
        "The runs differ in genKwargs: unset in main, temperature=1 in ckpt.",
        "The runs differ in seed: unset in main, 3 in ckpt.",
        "The runs differ in the version of torch: 2.8 in main, 2.9 in ckpt.",
    ]
    long = CANDIDATE._replace(settings={"systemInstruction": "x" * 1000})
    assert len(list_run_reasons(BASE, long)[0][1]) < 150


def test_a_metric_that_is_no_mean_has_no_interval() -> None:
    found = compare(sums=make_sums(60, 20), facts=(make_facts(1504.0), make_facts(1486.2)))
    (metric,) = found.metrics
    assert (metric.baseline, metric.candidate, metric.difference) == (1504.0, 1486.2, None)
    assert (metric.conclusion, list_findings(found)) == (Conclusion.UNCLEAR, [])


@pytest.mark.parametrize(
    ("value", "mean", "scales"),
    [
        (0.5, 0.5, {1.0}),
        (50.0, 0.5, {100.0}),
        (0.0, 0.0, {1.0, 100.0}),
        (0.3333, 1 / 3, {1.0}),
        (33.33, 1 / 3, {100.0}),
        (33.3, 1 / 3, set()),
        (1 / 3 + 1e-7, 1 / 3, {1.0}),
        (1 / 3 + 1e-5, 1 / 3, set()),
        (0.5, 0.4996, set()),
        (None, 0.5, set()),
        (float("nan"), 0.5, set()),
        (1486.2, 0.9, set()),
    ],
)
def test_which_metrics_are_means(value: float | None, mean: float, scales: set[float]) -> None:
    assert find_scales(Reported(value, OwnMean(10, mean))) == scales


def test_the_scale_is_decided_over_both() -> None:
    percent, share, zero = (Reported(value, OwnMean(9, mean)) for value, mean in ((50.0, 0.5), (0.25, 0.25), (0, 0)))
    none = Reported(0.3, OwnMean(9, 0.9))
    assert decide_scale(percent, zero) == decide_scale(zero, percent) == ScaleDecision(100.0)
    assert decide_scale(share, zero) == decide_scale(zero, zero) == ScaleDecision(1.0)
    assert decide_scale(share, percent) == ScaleDecision(None, differs=True)
    assert decide_scale(none, percent) == decide_scale(none, none) == ScaleDecision(None)
    assert find_scales(Reported(0.0, OwnMean(0, float("nan")))) == frozenset()


def test_first_metrics_are_adjusted_for_all() -> None:
    shaky = compare(sums=make_sums(40, 22))
    assert shaky.metrics[0].conclusion is Conclusion.WORSE
    tasks = [[shaky, *(compare(sums=make_sums(12, 12)) for _ in range(4))]]
    adjusted = conclude(tasks)[0][0].metrics[0]
    assert adjusted.conclusion is Conclusion.UNCLEAR and adjusted.p_adjusted == pytest.approx(0.0236 * 5, abs=0.01)
    # Further metrics, and what cannot be concluded from, are not among them.
    further = shaky._replace(metrics=[shaky.metrics[0]._replace(is_first=False)])
    doubtful = Finding(Effect.INCONCLUSIVE, FindingReason.UNSCORED, "")
    others = [further, shaky._replace(metrics=[shaky.metrics[0]._replace(findings=[doubtful])])]
    found = conclude([[shaky, *others]])[0]
    assert found[0].metrics[0].p_adjusted == shaky.metrics[0].p_adjusted
    assert [each.metrics[0].p_adjusted for each in found[1:]] == [None, None]


def test_equal_comparisons_are_adjusted_each() -> None:
    shaky: MetricComparison = compare(sums=make_sums(40, 22)).metrics[0]
    tasks = [TaskComparison(name, (), [shaky]) for name in ("a", "b")]
    assert [each.metrics[0].conclusion for each in conclude([tasks])[0]] == [Conclusion.WORSE] * 2
    assert all(
        each.metrics[0].p_adjusted == pytest.approx(2 * (shaky.p_adjusted or 0)) for each in conclude([tasks])[0]
    )


RESULTS: dict[str, Any] = {
    "results": {
        "mme": {
            "alias": "mme",
            "acc,none": 0.5,
            "acc_stderr,none": 0.1,
            "parts,none": {"a": {"b": 1}},
            "wer,none": None,
        },
        "mmmu": {"acc,strict": 50, "acc,flexible": 60, "bypass,none": 999},
        "all": {"acc,none": 0.5},
        "odd": {"alias": "odd"},
    },
    "groups": {"all": {"acc,none": 0.5}},
    "versions": {"mme": 1.0, "mmmu": "Yaml"},
    "n-shot": {"mme": 0, "mmmu": 5},
    "n-samples": {"mme": {"original": 32, "effective": 4}, "mmmu": {"original": float("inf"), "effective": -1}},
    "higher_is_better": {"mme": {"acc": True, "wer": False}},
}


def test_facts_of_tasks() -> None:
    found = read_task_facts(RESULTS)
    assert list(found) == ["mme", "mmmu", "all"]
    mme = found["mme"]
    assert (mme.version, mme.fewshot, mme.documents, mme.evaluated, mme.is_group) == ("1.0", "0", 32, 4, False)
    assert mme.metrics == (
        MetricFact("acc", "none", 0.5, False),
        MetricFact("parts.a.b", "none", 1.0, False),
        MetricFact("wer", "none", None, True),
    )
    assert [metric.key for metric in found["mmmu"].metrics] == ["acc,strict", "acc,flexible"]
    assert (found["mmmu"].documents, found["mmmu"].evaluated, found["all"].is_group) == (None, None, True)
    assert read_task_facts({"results": {"a": {"x,none": 1}}, "versions": [], "groups": 3})["a"].version == ""


def test_settings_are_the_options_of_the_harness() -> None:
    assert {"numFewshot", "genKwargs", "seed", "systemInstruction"} <= set(SETTINGS)
    assert not {"model", "modelArgs", "tasks", "limit", "priority"} & set(SETTINGS)


def test_facts_of_a_run() -> None:
    spec = {"model": "vllm", "modelArgs": {"model": "m"}, "tasks": ["mme"], "genKwargs": "temperature=0", "priority": 3}
    status = {"usage": {"versions": {"torch": "2.9"}, "image": "evaluator:1"}}
    document = {"metadata": {"name": "a"}, "spec": spec, "status": status}
    found = read_run_facts(document, {})
    assert (found.name, found.model, found.predict_only) == ("a", "vllm", False)
    assert found.settings == {"genKwargs": "temperature=0"}
    assert found.versions == {"torch": "2.9", "image": "evaluator:1"}
    rerun = {**document, "metadata": {"name": "b"}, "spec": spec | {"priority": 0, "hold": True}}
    assert read_run_facts(rerun, {}).is_rerun_of(found)
    assert not read_run_facts({**rerun, "spec": spec | {"seed": 1}}, {}).is_rerun_of(found)
    assert read_run_facts({"metadata": {"name": "c"}, "spec": {}}, {}).versions == {}
