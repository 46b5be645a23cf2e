"""The evaluations that chaos submits, drawn from a seed, and how each may end. Pure.

Some are poison pills: they are refused at once, or end as invalid, or run like any other, and hold up nobody.
"""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final, NamedTuple

from lmms_eval_core import names
from lmms_eval_core.phases import Reason

TASK: Final = "stub_vqa"


class Kind(NamedTuple):
    """A sort of evaluation: what it tells the stand-in for lmms-eval, and how it ends if it gets that far."""

    name: str
    env: dict[str, str]
    end: Reason = Reason.SUCCEEDED
    task: str = TASK
    fails_first: int = 0
    """How many attempts fail by themselves, in a way that may pass."""
    spec: Mapping[str, Any] = {}
    labels: Mapping[str, str] = {}
    refused: str = ""
    """Words of the sentence with which admission refuses it; "" of what it takes."""


# Marks of the operator's own, and what else a label may hold.
ODD_LABELS: Final = {
    names.LABEL_EVALUATION: "another",
    names.LABEL_EVALUATION_UID: "nobody",
    names.LABEL_SLOT: "0",
    names.LABEL_ATTEMPT: "9" * 63,
    "a.b-c/D_e.f": "V_." + "x" * 60,
    "empty": "",
}
HUGE: Final = "9" * 4096
WIDE: Final = {f"padding_{number}": "x" * 4000 for number in range(15)}


def _arguments(**arguments: str) -> Mapping[str, Any]:
    return {"modelArgs": arguments}


KINDS: Final = (
    (10, Kind("good", {})),
    (2, Kind("stubborn", {"STUB_STUBBORN": "1"})),
    (1, Kind("suspect", {"STUB_ENDING": "suspect"})),
    (2, Kind("flaky", {"STUB_UNREACHABLE_ATTEMPTS": "1"}, fails_first=1)),
    (1, Kind("away", {"STUB_UNREACHABLE_ATTEMPTS": "99"}, Reason.UNREACHABLE, fails_first=99)),
    (2, Kind("raises", {"STUB_ENDING": "raise"}, Reason.EVALUATION_ERROR)),
    (1, Kind("silent", {"STUB_ENDING": "silent"}, Reason.EVALUATION_ERROR)),
    (1, Kind("swallows", {"STUB_ENDING": "swallow"}, Reason.ALL_ANSWERS_FAILED)),
    (1, Kind("no-task", {}, Reason.TASK_NOT_FOUND, task="no_such_task")),
    (1, Kind("huge", {}, spec=_arguments(tensor_parallel_size=HUGE, data_parallel_size=HUGE), refused="is too large")),
    (1, Kind("control", {}, spec=_arguments(prompt="a\x1b[2J\x00"), refused="without control characters")),
    (1, Kind("crowd", {}, Reason.INVALID_SPEC, spec={"processes": 64})),
    (1, Kind("deep", {}, spec=_arguments(prompt="[{" * 2000))),
    (1, Kind("wide", {}, spec={"modelArgs": WIDE})),
    (1, Kind("labels", {}, labels=ODD_LABELS)),
)


class Submission(NamedTuple):
    """One evaluation to be."""

    name: str
    kind: Kind
    retries: int
    manifest: dict[str, Any]


def submissions(seed: int) -> Iterator[Submission]:
    """Evaluations without end; the same ones for the same seed."""
    random, number = Random(f"{seed}/submissions"), 0
    while True:
        number += 1
        (kind,) = random.choices([kind for _, kind in KINDS], [weight for weight, _ in KINDS])
        yield submission(number, kind, seconds=random.uniform(1, 5), retries=random.choice([0, 1, 2, 2]), random=random)


def submission(number: int, kind: Kind, *, seconds: float, retries: int, random: Random) -> Submission:
    """An evaluation that asks for no GPU: only the operator keeps it apart from the others, not the scheduler."""
    name = f"{kind.name}-{number:03}"
    env = {"STUB_SECONDS": f"{seconds:.1f}", **kind.env}
    spec = {
        "model": "stub",
        "tasks": [kind.task],
        "gpus": 0,
        "retries": retries,
        "priority": random.choice([0, 0, 0, 10, -10]),
        "env": [{"name": key, "value": value} for key, value in env.items()],
        **kind.spec,
    }
    metadata = {"name": name, "labels": dict(kind.labels)}
    manifest = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}
    return Submission(name, kind, retries, manifest)
