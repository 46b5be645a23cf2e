"""Whether evaluations were in a slot together: by the kubelet's times of their pods, and by the runs' own locks. Pure."""

import json
from collections.abc import Iterable, Iterator

from chaos.observer import Run


def by_the_kubelet(runs: Iterable[Run], *, slots: int) -> Iterator[str]:
    """Every start at a moment when all slots were taken. Times are whole seconds: what is within one of them is not seen.

    Pods whose end nobody saw are left out; the locks speak for them.
    """
    known = sorted((run for run in runs if run.end), key=lambda run: run.start)
    for run in known:
        others = [other for other in known if other is not run and other.start <= run.start < other.end]
        earlier = [other for other in others if (other.start, known.index(other)) < (run.start, known.index(run))]
        if len(earlier) >= slots:
            yield f"{told(run)} started while {', '.join(told(other) for other in earlier)} ran"


def told(run: Run) -> str:
    """A run for a person."""
    return f"{run.evaluation} attempt {run.attempt} ({run.start[11:19]} to {run.end[11:19] or '?'})"


def by_the_locks(journal: str) -> Iterator[str]:
    """Every run that found all slots taken by processes that were alive."""
    for line in journal.splitlines():
        entry = json.loads(line)
        if entry["event"] == "overlaps":
            yield f"{entry['evaluation']} attempt {entry['attempt']} found every slot taken by a living process"
