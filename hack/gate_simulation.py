"""Simulates gates of two evaluations whose true difference is known, and prints how often their verdict is wrong.

`.venv/bin/python hack/gate_simulation.py` takes about a minute; the seed makes the table the same everywhere.
"""

import random
import sys
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from math import exp, lgamma, log
from typing import Final, NamedTuple

from lmms_eval_core.compare.difference import BinaryCounts, Difference, compare_binary
from lmms_eval_core.quality_gate.policy import GateBaseline, GateRule, QualityGate
from lmms_eval_core.quality_gate.verdict import GatedMetric, GateVerdict, judge

SEED: Final = 2026
GATES: Final = 20_000
CONFIDENCE: Final = 0.95


class Truth(NamedTuple):
    """A task of `documents`: the shares of them that are lost and won."""

    lost: float
    won: float
    documents: int = 2_000


class Scenario(NamedTuple):
    """A gate with a rule for each task, and the bound of how often it may, or has to, come to a verdict."""

    name: str
    tasks: Sequence[Truth]
    max_drop: float
    verdict: GateVerdict
    at_most: float = 1.0
    at_least: float = 0.0


def flip(share: float, loss: float = 0.0) -> Truth:
    """Return a task of whose documents a share flips, with a true loss."""
    return Truth((share + loss) / 2, (share - loss) / 2)


SCENARIOS: Final = (
    Scenario("one task, loses exactly maxDrop", [flip(0.05, 0.02)], 0.02, GateVerdict.FAILED, at_most=0.055),
    Scenario("five tasks, all lose exactly maxDrop", [flip(0.05, 0.02)] * 5, 0.02, GateVerdict.FAILED, at_most=0.055),
    Scenario("one task, loses exactly maxDrop", [flip(0.05, 0.02)], 0.02, GateVerdict.PASSED, at_most=0.05),
    Scenario(
        "five tasks, one loses exactly maxDrop",
        [flip(0.05, 0.02), *[flip(0.05)] * 4],
        0.02,
        GateVerdict.PASSED,
        at_most=0.05,
    ),
    Scenario("one task, nothing flips but the loss", [Truth(0.01, 0.0)], 0.01, GateVerdict.PASSED, at_most=0.05),
    Scenario("one task, 5 % flip, no change", [flip(0.05)], 0.02, GateVerdict.PASSED, at_least=0.98),
    Scenario("five tasks, 5 % flip, no change", [flip(0.05)] * 5, 0.02, GateVerdict.PASSED),
    Scenario("one task, loses twice maxDrop", [flip(0.05, 0.04)], 0.02, GateVerdict.FAILED),
)


def simulate(scenario: Scenario, gates: int, *, seed: int = SEED) -> float:
    """Return the share of gates with the scenario's verdict."""
    source = random.Random(f"{seed} {scenario.name}")
    rules = [GateRule(max_drop=scenario.max_drop)]
    gate = QualityGate(baseline=GateBaseline(evaluation="main"), confidence=CONFIDENCE, rules=rules)
    found = 0
    for _ in range(gates):
        metrics = [_draw_metric(f"t{number}", truth, source) for number, truth in enumerate(scenario.tasks)]
        found += judge(gate, metrics).verdict is scenario.verdict
    return found / gates


def _draw_metric(task: str, truth: Truth, source: random.Random) -> GatedMetric:
    flips = _draw_binomial(truth.documents, truth.lost + truth.won, source)
    lost = _draw_binomial(flips, truth.lost / (truth.lost + truth.won), source)
    difference = _compare(lost, flips - lost, truth.documents)
    return GatedMetric(task, "acc,none", 0.8 + (difference.estimate or 0.0), 0.8, difference=difference)


@cache
def _compare(lost: int, won: int, documents: int) -> Difference:
    return compare_binary(BinaryCounts(lost, won, documents), level=CONFIDENCE)


def _draw_binomial(trials: int, share: float, source: random.Random) -> int:
    return bisect_left(_tabulate_binomial(trials, share), source.random())


@cache
def _tabulate_binomial(trials: int, share: float) -> list[float]:
    """Return the probabilities of so many successes or fewer; the last is 1."""
    if share >= 1.0:
        return [0.0] * trials + [1.0]
    constant, success, failure = lgamma(trials + 1), log(share), log(1.0 - share)
    logs = (
        constant - lgamma(k + 1) - lgamma(trials - k + 1) + k * success + (trials - k) * failure
        for k in range(trials + 1)
    )
    return [*list(accumulate(map(exp, logs)))[:-1], 1.0]


def main() -> int:
    """Print the table; 1 where a bound does not hold."""
    print(f"{GATES:,} gates each, 2,000 documents a task, confidence {CONFIDENCE}, seed {SEED}\n")
    print(f"{'truth':40} {'maxDrop':>7}  {'verdict':8} {'share':>7}  bound")
    broken = 0
    for scenario in SCENARIOS:
        share = simulate(scenario, GATES)
        bound = f"<= {scenario.at_most:.1%}" if scenario.at_most < 1.0 else f">= {scenario.at_least:.1%}"
        holds = scenario.at_least <= share <= scenario.at_most
        broken += not holds
        print(
            f"{scenario.name:40} {scenario.max_drop:7.2f}  {scenario.verdict:8} {share:7.2%}  "
            f"{bound if scenario.at_most < 1.0 or scenario.at_least > 0.0 else ''}{'' if holds else ' BROKEN'}"
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
