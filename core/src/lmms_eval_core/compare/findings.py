"""What speaks against comparing two runs, or should be known beside the numbers. Pure."""

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from lmms_eval_core.compare.columns import MIN_CLUSTERS, MetricSums, PairCounts
from lmms_eval_core.compare.facts import MetricFact, RunFacts, TaskFacts

# So many documents may differ, or lack a value, before a comparison says nothing any more.
TOLERATED: Final = 0.01
_SHOWN_TEXT: Final = 60


class Effect(StrEnum):
    """What a finding means for the comparison."""

    REFUSED = "refused"
    INCONCLUSIVE = "inconclusive"
    WARNING = "warning"


class FindingReason(StrEnum):
    """One word for a finding."""

    NOT_COMPARABLE = "NotComparable"
    PROMPTS_DIFFER = "PromptsDiffer"
    RESULTS_SUSPECT = "ResultsSuspect"
    DOCUMENTS_MISSING = "DocumentsMissing"
    UNSCORED = "Unscored"
    SETTINGS_DIFFER = "SettingsDiffer"
    DOCUMENTS_DIFFER = "DocumentsDiffer"
    FEW_CLUSTERS = "FewClusters"


class Finding(NamedTuple):
    """One finding, and a sentence on it."""

    effect: Effect
    reason: FindingReason
    message: str


def refuse(message: str) -> Finding:
    """Return that something cannot be compared."""
    return Finding(Effect.REFUSED, FindingReason.NOT_COMPARABLE, message)


def list_run_findings(baseline: RunFacts, candidate: RunFacts) -> Iterator[Finding]:
    """Yield what concerns all tasks of two runs."""
    for run in (baseline, candidate):
        if run.predict_only:
            yield refuse(f"{run.name} only predicts (predictOnly), so that nothing in it is scored.")
        if run.suspect:
            sentence = f"The results of {run.name} are suspect: {run.suspect}"
            yield Finding(Effect.INCONCLUSIVE, FindingReason.RESULTS_SUSPECT, sentence)
    for kind, of in (("", "settings"), ("the version of ", "versions")):
        yield from _list_other_values(kind, (baseline, getattr(baseline, of)), (candidate, getattr(candidate, of)))


def list_task_findings(runs: tuple[RunFacts, RunFacts], tasks: tuple[TaskFacts, TaskFacts]) -> Iterator[Finding]:
    """Yield what the results files say against comparing a task."""
    (baseline, candidate), (old, new) = runs, tasks
    if old.version != new.version:
        yield refuse(
            f"The task has version {old.version or 'none'} in {baseline.name} and {new.version or 'none'} in "
            f"{candidate.name}."
        )
    if old.fewshot != new.fewshot:
        sentence = f"{baseline.name} has {old.fewshot or 'no'} examples in its prompts, {candidate.name} "
        yield Finding(Effect.WARNING, FindingReason.SETTINGS_DIFFER, f"{sentence}{new.fewshot or 'none'}.")


def list_pair_findings(runs: tuple[RunFacts, RunFacts], pairs: PairCounts) -> Iterator[Finding]:
    """Yield what the documents of a task say against comparing them."""
    baseline, candidate = runs
    together = pairs.matched + pairs.other_target
    if _is_too_many(pairs.other_target, together):
        yield refuse(f"The targets of {pairs.other_target:,} of {together:,} documents differ: these are other ones.")
    elif not pairs.matched:
        yield refuse("The runs have no document in common.")
    elif pairs.other_target:
        sentence = f"{pairs.other_target:,} documents with other targets are left out."
        yield Finding(Effect.WARNING, FindingReason.DOCUMENTS_DIFFER, sentence)
    if _is_too_many(pairs.other_input, pairs.matched):
        yield _judge_prompts(baseline, candidate, pairs)
    yield from _judge_missing(runs, pairs)
    if 0 < pairs.clusters < MIN_CLUSTERS and pairs.clusters < pairs.matched:
        sentence = (
            f"The cluster key of the task has {pairs.clusters} values only. They are taken for categories, whose "
            "documents do not depend on each other."
        )
        yield Finding(Effect.WARNING, FindingReason.FEW_CLUSTERS, sentence)


def list_metric_findings(
    runs: tuple[RunFacts, RunFacts], metrics: tuple[MetricFact, MetricFact], sums: MetricSums | None, matched: int
) -> Iterator[Finding]:
    """Yield what speaks against comparing a metric."""
    baseline, candidate = runs
    if metrics[0].lower_is_better is not metrics[1].lower_is_better:
        yield refuse("Lower is better in one of the runs, and higher in the other.")
    if sums is None:
        return
    for run, unscored in ((baseline, sums.unscored_baseline), (candidate, sums.unscored_candidate)):
        if unscored:
            effect = Effect.INCONCLUSIVE if _is_too_many(unscored, matched) else Effect.WARNING
            sentence = (
                f"{unscored:,} of {matched:,} documents failed in {run.name}, or have no value; they do not count."
            )
            yield Finding(effect, FindingReason.UNSCORED, sentence)


def _judge_prompts(baseline: RunFacts, candidate: RunFacts, pairs: PairCounts) -> Finding:
    sentence = f"The prompts of {pairs.other_input:,} of {pairs.matched:,} documents differ"
    if baseline.model == candidate.model:
        return Finding(Effect.INCONCLUSIVE, FindingReason.PROMPTS_DIFFER, f"{sentence}.")
    sentence += f"; {baseline.model} and {candidate.model} may have prompts of their own."
    return Finding(Effect.WARNING, FindingReason.PROMPTS_DIFFER, sentence)


def _judge_missing(runs: tuple[RunFacts, RunFacts], pairs: PairCounts) -> Iterator[Finding]:
    """Yield what documents mean that only one run has: a smaller run may be a part of a larger one, and no more."""
    if not pairs.only_baseline + pairs.only_candidate:
        return
    together = pairs.matched + pairs.other_target
    sizes = pairs.only_baseline + together, pairs.only_candidate + together
    smaller = 0 if sizes[0] <= sizes[1] else 1
    missing = (pairs.only_baseline, pairs.only_candidate)[smaller]
    sentence = f"{pairs.matched:,} of {max(sizes):,} documents are in both runs"
    if _is_too_many(missing, sizes[smaller]):
        sentence += f"; {missing:,} of {runs[smaller].name} are not in {runs[1 - smaller].name}."
        yield Finding(Effect.INCONCLUSIVE, FindingReason.DOCUMENTS_MISSING, sentence)
    else:
        yield Finding(Effect.WARNING, FindingReason.DOCUMENTS_DIFFER, f"{sentence}, and count.")


def _list_other_values(
    kind: str, baseline: tuple[RunFacts, Mapping[str, Any]], candidate: tuple[RunFacts, Mapping[str, Any]]
) -> Iterator[Finding]:
    (first, old), (second, new) = baseline, candidate
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            shown = f"{_show(old.get(name))} in {first.name}, {_show(new.get(name))} in {second.name}"
            yield Finding(Effect.WARNING, FindingReason.SETTINGS_DIFFER, f"The runs differ in {kind}{name}: {shown}.")


def _show(value: Any) -> str:
    if value is None:
        return "unset"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN_TEXT else f"{text[: _SHOWN_TEXT - 1]}…"


def _is_too_many(count: int, among: int) -> bool:
    return count > TOLERATED * among
