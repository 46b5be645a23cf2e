from typing import Any

import pytest

from lmms_eval_core.run import HarnessArguments, RunInput
from lmms_eval_reporter.status_writer import build_status_patch, explain_superseded

RUN = RunInput(namespace="ns", name="a", uid="u1", attempt=2, harness=HarnessArguments(model="m", tasks=["t"]))


def evaluation(uid: str = "u1", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "uid": uid}, "status": status}


def test_a_write_is_for_this_attempt_alone_and_replaces_whole_fields() -> None:
    assert build_status_patch({"summary": "x", "scores": {"t": {}}}, RUN) == [
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": "/status/attempt", "value": 2},
        {"op": "test", "path": "/status/phase", "value": "Running"},
        {"op": "add", "path": "/status/reportedAttempt", "value": 2},
        {"op": "add", "path": "/status/summary", "value": "x"},
        {"op": "add", "path": "/status/scores", "value": {"t": {}}},
    ]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (evaluation(attempt=2, phase="Running"), ""),
        (evaluation("u2", attempt=2, phase="Running"), "another one has its name"),
        (evaluation(attempt=3, phase="Running"), "at attempt 3, not 2"),
        (evaluation(attempt=2, phase="Cancelled"), "is Cancelled"),
        (evaluation(), "at attempt None"),
        ({"metadata": {"uid": "u1"}}, "at attempt None"),
    ],
)
def test_when_an_attempt_is_over(found: dict[str, Any], reason: str) -> None:
    assert reason in explain_superseded(found, RUN) and bool(explain_superseded(found, RUN)) == bool(reason)
