"""Verdicts of quality gates: the worked examples, every reason, and properties."""

import math
from typing import Any

import pytest
from gate_simulation import SCENARIOS, Scenario, simulate
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.compare.difference import BinaryCounts, Difference, Limits, Method, compare_binary
from lmms_eval_core.quality_gate.policy import QualityGate
from lmms_eval_core.quality_gate.verdict import GatedMetric, GateReason, GateResult, GateVerdict, Obstacle, judge

PASSED, FAILED, INCONCLUSIVE = GateVerdict.PASSED, GateVerdict.FAILED, GateVerdict.INCONCLUSIVE


def gate(*rules: dict[str, Any], **fields: Any) -> QualityGate:
    return QualityGate.model_validate({"baseline": {"evaluation": "main"}, "rules": list(rules), **fields})


def metric(lost: int = 0, won: int = 0, documents: int = 1000, *, task: str = "mme", **fields: Any) -> GatedMetric:
    difference = compare_binary(BinaryCounts(lost, won, documents), level=0.95)
    known = GatedMetric(task, "acc,none", 0.8 + (difference.estimate or 0.0), 0.8, difference=difference)
    return known._replace(**fields)


def decide(rule: dict[str, Any], *metrics: GatedMetric) -> tuple[GateVerdict, GateReason]:
    result = judge(gate(rule), metrics)
    return result.verdict, result.reason


@pytest.mark.parametrize(
    ("lost", "won", "documents", "max_drop", "verdict", "needed"),
    [
        pytest.param(30, 20, 1000, 0.03, PASSED, None, id="B1"),
        pytest.param(30, 20, 1000, 0.02, INCONCLUSIVE, 772, id="B2"),
        pytest.param(60, 20, 1000, 0.01, FAILED, None, id="B3"),
        pytest.param(0, 0, 100, 0.01, INCONCLUSIVE, 268, id="B4"),
        pytest.param(0, 0, 300, 0.01, PASSED, None, id="B5"),
        pytest.param(10, 0, 10, 0.05, FAILED, None, id="B6"),
        pytest.param(90, 60, 5000, 0.015, PASSED, None, id="B7"),
    ],
)
def test_worked_examples(
    lost: int, won: int, documents: int, max_drop: float, verdict: GateVerdict, needed: int | None
) -> None:
    result = judge(gate({"maxDrop": max_drop, "minPairs": 2}), [metric(lost, won, documents)])
    reason = {PASSED: GateReason.NOT_WORSE, FAILED: GateReason.WORSE, INCONCLUSIVE: GateReason.NOT_ENOUGH_EVIDENCE}
    assert (result.verdict, result.reason) == (verdict, reason[verdict])
    assert result.judgements[0].needed == needed


def test_the_sentence_of_an_open_gate_names_the_documents_that_would_tell() -> None:
    sentence = judge(gate({"maxDrop": 0.02}), [metric(30, 20)]).message
    assert sentence == (
        "acc,none of mme: changed by -0.01, from -0.02211 to +0.001673; 0.02 may be lost; about 772 documents may tell"
    )


def test_one_shaky_rule_of_three_does_not_fail() -> None:
    # E2
    shaky, steady, better = metric(40, 12), metric(12, 12, task="b"), metric(9, 12, task="c")
    rule = {"maxDrop": 0.015}
    alone, together = judge(gate(rule), [shaky]), judge(gate(rule), [shaky, steady, better])
    assert (alone.verdict, together.verdict) == (FAILED, INCONCLUSIVE)
    assert alone.judgements[0].p == pytest.approx(0.030167, abs=5e-7)
    assert [one.p for one in together.judgements] == pytest.approx([0.0905, 1.0, 1.0], abs=5e-5)


def test_advisory_rules_are_told_and_neither_decide_nor_count_among_the_others() -> None:
    rules = [{"task": "mme", "maxDrop": 0.015}, {"task": "*", "maxDrop": 0.015, "tier": "Advisory"}]
    lost, worse = metric(40, 12), metric(90, 0, task="b")
    result = judge(gate(*rules), [lost, worse])
    assert (result.verdict, result.judgements[1].verdict) == (FAILED, FAILED)
    assert result.judgements[0].p == pytest.approx(0.030167, abs=5e-7), "corrected for an advisory rule"
    assert judge(gate(*rules), [metric(), worse]).verdict is PASSED
    assert judge(gate(rules[1]), [metric()]).verdict is INCONCLUSIVE


def test_units_of_the_harness() -> None:
    # F1: limits of MME's score, which is up to 2,000.
    limits = Limits(-31.58229100562418, -4.017708994375727)
    difference = Difference(Method.PAIRED_T, 50, 10, -17.8, 7.518517141032476, limits, 0.042, reach=2000.0)
    known = GatedMetric("mme", "mme_perception_score,none", 1486.2, 1504.0, difference=difference)
    assert decide({"maxDrop": 40}, known)[0] is PASSED
    assert decide({"maxDrop": 20}, known)[0] is INCONCLUSIVE
    # The same of a metric in percent, whose samples are proportions.
    percent = metric(30, 20, baseline=80.0, candidate=79.0, scale=100.0)
    assert [decide({"maxDrop": drop}, percent)[0] for drop in (3, 2)] == [PASSED, INCONCLUSIVE]
    result = judge(gate({"maxDrop": 2}), [percent])
    assert result.judgements[0].needed == 772 and "from -2.211 to +0.1673; 2 may be lost" in result.message


def test_percent_of_the_baseline() -> None:
    assert decide({"maxDropPercent": 3.75}, metric(30, 20))[0] is PASSED
    assert decide({"maxDropPercent": 2.5}, metric(30, 20))[0] is INCONCLUSIVE
    # Of nothing there is no part: it can neither pass nor stop.
    nothing = metric(0, 0, baseline=0.0, candidate=0.0)
    assert decide({"maxDropPercent": 5}, nothing) == (INCONCLUSIVE, GateReason.NOT_ENOUGH_EVIDENCE)


def test_a_floor_needs_no_baseline() -> None:
    # H1
    floors = QualityGate.model_validate({"rules": [{"floor": 0.7}]})
    low = judge(floors, [GatedMetric("mme", "acc,none", 0.69)])
    assert (low.verdict, low.reason) == (FAILED, GateReason.BELOW_FLOOR)
    assert low.message == "acc,none of mme: 0.69 does not reach the floor of 0.7"
    assert judge(floors, [GatedMetric("mme", "acc,none", 0.7)]).verdict is PASSED
    assert judge(floors, [GatedMetric("mme", "wer,none", 0.71, lower_is_better=True)]).verdict is FAILED
    assert judge(floors, [GatedMetric("mme", "wer,none", 0.7, lower_is_better=True)]).verdict is PASSED


def test_a_floor_counts_beside_a_drop_and_without_a_baseline() -> None:
    rule = {"maxDrop": 0.05, "floor": 0.7}
    assert decide(rule, metric(candidate=0.6)) == (FAILED, GateReason.BELOW_FLOOR)
    gone = Obstacle(GateReason.BASELINE_UNAVAILABLE, "main does not exist")
    assert decide(rule, metric(candidate=0.6, obstacle=gone)) == (FAILED, GateReason.BELOW_FLOOR)
    assert decide(rule, metric(obstacle=gone)) == (INCONCLUSIVE, GateReason.BASELINE_UNAVAILABLE)


@pytest.mark.parametrize(
    ("rule", "known", "reason"),
    [
        ({"maxDrop": 0.1}, metric(candidate=None), GateReason.NOT_COMPARABLE),
        ({"maxDrop": 0.1}, metric(baseline=None), GateReason.NOT_COMPARABLE),
        ({"maxDropPercent": 1}, metric(baseline=None), GateReason.NOT_COMPARABLE),
        ({"maxDrop": 0.1}, metric(documents=29), GateReason.NOT_ENOUGH_EVIDENCE),
        ({"maxDrop": 0.1, "minPairs": 1001}, metric(), GateReason.NOT_ENOUGH_EVIDENCE),
        ({"maxDrop": 0.1}, metric(difference=None), GateReason.NOT_ENOUGH_EVIDENCE),
        ({"maxDrop": 0.1}, metric(documents=0), GateReason.NOT_ENOUGH_EVIDENCE),
        (
            {"maxDrop": 0.1, "evidence": "PointEstimate"},
            metric(obstacle=Obstacle(GateReason.PROMPTS_DIFFER, "other prompts")),
            GateReason.PROMPTS_DIFFER,
        ),
        ({"floor": 0.9}, metric(doubt=Obstacle(GateReason.RESULTS_SUSPECT, "failed")), GateReason.RESULTS_SUSPECT),
        ({"task": "other", "maxDrop": 0.1}, metric(), GateReason.NOT_COMPARABLE),
        ({"metric": "bleu", "maxDrop": 0.1}, metric(), GateReason.NOT_COMPARABLE),
        ({"maxDrop": 0.1}, metric(is_first=False), GateReason.NOT_COMPARABLE),
    ],
)
def test_what_cannot_be_judged_is_told_and_never_passed(
    rule: dict[str, Any], known: GatedMetric, reason: GateReason
) -> None:
    assert decide(rule, known) == (INCONCLUSIVE, reason)


def test_nothing_to_judge_is_no_pass() -> None:
    # H2
    result = judge(gate({"task": "mmb*", "metric": "acc", "maxDrop": 0.1}), [])
    assert (result.verdict, result.reason) == (INCONCLUSIVE, GateReason.NOT_COMPARABLE)
    assert result.message == "the evaluation has nothing that the rule for task mmb*, metric acc matches"


def test_a_failure_stands_beside_what_is_open() -> None:
    assert decide({"maxDrop": 0.01}, metric(documents=10, task="a"), metric(60, 20)) == (FAILED, GateReason.WORSE)


def test_significantly_worse_fails_on_evidence_alone() -> None:
    rule = {"maxDrop": 0, "evidence": "SignificantlyWorse"}
    assert decide(rule, metric(5, 3, documents=32))[0] is PASSED
    assert decide(rule, metric(90, 60, documents=5000))[0] is FAILED
    # Shown to lose, but not by more than is accepted.
    assert decide(rule | {"maxDrop": 0.01}, metric(90, 60, documents=5000))[0] is PASSED


def test_a_point_estimate_looks_at_two_numbers() -> None:
    rule = {"maxDrop": 10, "evidence": "PointEstimate"}
    score = GatedMetric("mme", "mme_perception_score,none", 1490.0, 1500.0)
    assert decide(rule, score) == (PASSED, GateReason.NOT_WORSE)
    assert decide(rule, score._replace(candidate=1489.9)) == (FAILED, GateReason.WORSE)
    assert decide(rule, score._replace(candidate=1510.5, lower_is_better=True)) == (FAILED, GateReason.WORSE)


def test_which_rule_judges() -> None:
    rules = [
        {"task": "mme", "metric": "score", "maxDrop": 1},
        {"task": "mmb*", "metric": "acc,flex*", "maxDrop": 2},
        {"task": "mmmu", "maxDrop": 3},
        {"task": "*", "maxDrop": 4},
    ]
    cases = {
        ("mme", "score,none", False, False): 1,
        ("mme", "acc,none", True, False): 4,
        ("mme", "acc,none", False, False): None,
        ("mmbench", "acc,flexible-extract", False, False): 2,
        ("mmbench", "acc,none", False, False): None,
        # A group is judged where somebody names it.
        ("mmmu", "acc,none", True, True): 3,
        ("mmstar", "acc,none", True, True): None,
        ("mmstar", "acc,none", True, False): 4,
    }
    for (task, key, is_first, is_group), drop in cases.items():
        known = metric(task=task, key=key, is_first=is_first, is_group=is_group)
        judged = judge(gate(*rules), [known]).judgements
        assert [one.rule.max_drop for one in judged] == ([] if drop is None else [drop]), (task, key)


counts = st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 2000)).map(
    lambda drawn: metric(drawn[0], drawn[1], sum(drawn))
)
drops = st.floats(1e-4, 0.5)
ORDER = [FAILED, INCONCLUSIVE, PASSED]


@given(counts, drops, drops)
def test_who_accepts_more_gets_no_worse_verdict(known: GatedMetric, first: float, second: float) -> None:
    strict, mild = (decide({"maxDrop": drop}, known)[0] for drop in sorted((first, second)))
    assert ORDER.index(strict) <= ORDER.index(mild)


@given(st.lists(counts, max_size=6), drops, st.randoms())
def test_the_order_of_tasks_does_not_matter(known: list[GatedMetric], drop: float, source: Any) -> None:
    named = [one._replace(task=f"t{place}") for place, one in enumerate(known)]
    shuffled = source.sample(named, len(named))
    results = [judge(gate({"maxDrop": drop}), metrics) for metrics in (named, shuffled)]
    assert results[0].verdict is results[1].verdict
    assert by_task(results[0]) == by_task(results[1])


@given(st.lists(counts, min_size=1, max_size=6), drops)
def test_more_rules_never_turn_a_verdict_into_a_better_one(known: list[GatedMetric], drop: float) -> None:
    named = [one._replace(task=f"t{place}") for place, one in enumerate(known)]
    verdict = judge(gate({"maxDrop": drop}), named).verdict
    alone = [judge(gate({"maxDrop": drop}), [one]).verdict for one in named]
    assert (verdict is PASSED) == all(one is PASSED for one in alone)
    assert verdict is not FAILED or FAILED in alone


def by_task(result: GateResult) -> dict[str, Any]:
    return {one.metric.task: (one.verdict, one.reason, round(one.p or 0.0, 12)) for one in result.judgements}


@given(counts, drops)
def test_a_verdict_is_one_of_evidence(known: GatedMetric, drop: float) -> None:
    judged = judge(gate({"maxDrop": drop}), [known]).judgements[0]
    if judged.verdict is PASSED:
        assert known.limits is not None and known.limits.lower >= -drop
    if judged.verdict is FAILED:
        assert judged.p is not None and judged.p < 0.05 and (known.change or 0.0) < -drop + 1e-12
    assert judged.needed is None or (judged.needed > 0 and math.isfinite(judged.needed))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[f"{one.name}: {one.verdict}" for one in SCENARIOS])
def test_simulated_gates(scenario: Scenario) -> None:
    # Fewer than the script simulates: with three standard errors of room.
    gates = 1000
    share = simulate(scenario, gates)
    room = 3.0 * math.sqrt(0.05 * 0.95 / gates)
    assert scenario.at_least - room <= share <= scenario.at_most + room
