"""Output of a campaign: the table with the three counts that must be 0, and the file with all records."""

import json
from pathlib import Path

from chaos.final_state import FinalState
from chaos.observer import ClusterObserver
from chaos.records import CampaignRecords
from chaos.verification import CampaignResult, join_observations


def print_result(result: CampaignResult) -> None:
    """Print the table, with each violation below its count."""
    accepted = result.submitted - result.refused
    ends = ", ".join(f"{count} {end}" for end, count in sorted(result.end_counts.items()) if end != "lost")
    events = ", ".join(f"{kind} {count}" for kind, count in sorted(result.event_counts.items()))
    observation = f"{result.attempts} attempts ran; the end of {result.unobserved_ends} pods was not observed"
    print()
    print_row("submitted", result.submitted, observation)
    print_row("refused", result.refused, "poison pills that admission refused")
    print_row("ended", accepted - len(result.lost), ends)
    print_violations("lost", result.lost)
    print_violations("overlapping", result.overlapping)
    print_violations("wrong state", result.wrong_states)
    print_row("faults and actions", sum(result.event_counts.values()), events)


def print_violations(title: str, violations: list[str]) -> None:
    """Print the number of violations, and a line for each."""
    print_row(title, len(violations))
    for violation in violations:
        print(f"{'':26}{violation}", flush=True)


def print_row(title: str, count: int, detail: str = "") -> None:
    """Print a row of the table."""
    print(f"{title:18} {count:5}  {detail}".rstrip(), flush=True)


def write_records(path: Path, records: CampaignRecords, observer: ClusterObserver, final_state: FinalState) -> None:
    """Write everything that was recorded and observed, as JSON, to find the cause of a violation."""
    evaluations = {
        item.name: {
            "record": {key: value for key, value in vars(item.record).items() if key != "evaluation"},
            "history": item.history,
            "pod_runs": item.pod_runs,
            "final_object": item.final_object,
        }
        for item in join_observations(records, observer, final_state)
    }
    content = {"evaluations": evaluations, "slot_journal": final_state.slot_journal.splitlines()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
