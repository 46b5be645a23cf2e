"""The result of a run of chaos: the three counts that must be 0, what led to them, and where the story of each breach is."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from chaos.final_state import Aftermath
from chaos.observer import Witness
from chaos.overlaps import by_the_kubelet, by_the_locks
from chaos.records import Ledger
from chaos.verification import Case, breaches, refusal_breaches
from lmms_eval_core.phases import TERMINAL


class Result(NamedTuple):
    """Sentences for each breach of a promise; counts of everything else."""

    submitted: int
    refused: int
    ends: Counter[str]
    attempts: int
    unseen: int
    done: Counter[str]
    lost: list[str]
    overlapping: list[str]
    wrong: list[str]

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.overlapping or self.wrong)


def result(ledger: Ledger, witness: Witness, after: Aftermath, *, slots: int) -> Result:
    """Judges everything."""
    cases = [case for case in cases_of(ledger, witness, after)]
    overlapping = [*by_the_kubelet(witness.runs.values(), slots=slots), *by_the_locks(after.journal)]
    wrong = [f"{name(case)} {breach}" for case in cases for breach in breaches(case)]
    wrong += [f"{refusal.submission.name} {breach}" for refusal in ledger.refused for breach in refusal_breaches(refusal)]
    return Result(
        submitted=len(cases) + len(ledger.refused),
        refused=len(ledger.refused),
        ends=Counter(end(case) for case in cases),
        attempts=sum(run.ran for run in witness.runs.values()),
        unseen=sum(not run.end for run in witness.runs.values()),
        done=ledger.done,
        lost=[f"{name(case)} is {case.phase or 'gone'} ({case.status.get('reason')})" for case in cases if case.lost],
        overlapping=overlapping,
        wrong=[*wrong, *after.left, *after.unstored],
    )


def cases_of(ledger: Ledger, witness: Witness, after: Aftermath) -> list[Case]:
    """Every evaluation with all that is known of it."""
    return [
        Case(
            entry,
            witness.states.get(entry.uid, []),
            [run for run in witness.runs.values() if run.uid == entry.uid],
            after.evaluations.get(entry.uid),
            [bound for bound in witness.bound if bound.uid == entry.uid],
        )
        for entry in ledger.entries.values()
    ]


def name(case: Case) -> str:
    """The evaluation's name."""
    return case.entry.submission.name


def end(case: Case) -> str:
    """What became of it, in a word."""
    if case.lost:
        return "lost"
    return case.phase if case.phase in TERMINAL else "deleted"


def show(result: Result) -> None:
    """The table."""
    ended = ", ".join(f"{count} {what}" for what, count in sorted(result.ends.items()) if what != "lost")
    done = ", ".join(f"{what} {count}" for what, count in sorted(result.done.items()))
    print(f"\n{'submitted':14} {result.submitted:5}  {result.attempts} attempts ran; of {result.unseen} pods nobody saw the end")
    print(f"{'refused':14} {result.refused:5}  poison pills that admission did not take")
    print(f"{'ended':14} {result.submitted - result.refused - len(result.lost):5}  {ended}")
    for title, found in (("lost", result.lost), ("overlapping", result.overlapping), ("wrong state", result.wrong)):
        print(f"{title:14} {len(found):5}")
        for sentence in found:
            print(f"{'':22}{sentence}")
    print(f"{'done to them':14} {sum(result.done.values()):5}  {done}", flush=True)


def write(path: Path, ledger: Ledger, witness: Witness, after: Aftermath) -> None:
    """Everything that was seen, for whoever has to find out why."""
    stories = {
        name(case): {
            "done": {key: value for key, value in vars(case.entry).items() if key != "submission"},
            "history": case.history,
            "runs": case.runs,
            "object": case.item,
        }
        for case in cases_of(ledger, witness, after)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"stories": stories, "journal": after.journal.splitlines()}, indent=1) + "\n")
