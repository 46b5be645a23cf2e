"""What one may import, and what of lmms-eval's own client is there."""

import inspect
from typing import Any

import httpx
import pytest

import lmms_eval_client as package
from lmms_eval_client import (
    AsyncClient,
    Client,
    JobNotCompleted,
    LmmsEvalError,
    ServerRefused,
    ServerUnreachable,
    WaitTimedOut,
)
from lmms_eval_client import errors as tree

PUBLIC = [
    "AnswerUnreadable",
    "AsyncClient",
    "AsyncEvalClient",
    "Client",
    "EnvVar",
    "EvalClient",
    "EvaluateRequest",
    "JobCancelled",
    "JobComparison",
    "JobFailed",
    "JobInfo",
    "JobNotCompleted",
    "JobStatus",
    "JobSubmitResponse",
    "JobSummary",
    "LmmsEvalError",
    "Metric",
    "ModelList",
    "NotAuthorized",
    "NotFound",
    "Progress",
    "QueueStatusResponse",
    "RequestInvalid",
    "Resources",
    "Results",
    "Retries",
    "SampleCard",
    "SampleDetail",
    "SecretKeyRef",
    "ServerBusy",
    "ServerRefused",
    "ServerUnreachable",
    "TaskList",
    "Toleration",
    "Volume",
    "WaitTimedOut",
]
ERRORS = {name for name, value in vars(tree).items() if isinstance(value, type) and issubclass(value, LmmsEvalError)}


def test_the_public_names_are_these_and_sorted() -> None:
    assert package.__all__ == PUBLIC == sorted(PUBLIC)
    public = {name for name, value in vars(package).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public == set(PUBLIC)


def test_every_error_is_public_and_drawn_in_the_tree() -> None:
    assert set(PUBLIC) >= ERRORS
    drawn = tree.__doc__ or ""
    assert [name for name in ERRORS if name not in drawn] == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ServerRefused, httpx.HTTPStatusError),
        (ServerUnreachable, httpx.TransportError),
        (JobNotCompleted, RuntimeError),
        (WaitTimedOut, TimeoutError),
    ],
)
def test_errors_are_caught_by_code_that_was_written_for_lmms_evals_client(ours: type, theirs: type) -> None:
    assert issubclass(ours, theirs)


def test_time_outs_are_on_unless_they_are_turned_off() -> None:
    asked: list[dict[str, float | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.extensions["timeout"])
        return httpx.Response(200, json={})

    choices: list[dict[str, Any]] = [{}, {"timeout": None}]
    for options in choices:
        with Client("http://lmms-eval.example.com", transport=httpx.MockTransport(answer), **options) as client:
            client.health()
    assert asked == [{"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 30.0}, dict.fromkeys(asked[0])]
    defaults = [inspect.signature(client).parameters["timeout"].default for client in (Client, AsyncClient)]
    assert defaults[0] == defaults[1]


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    assert _signatures(Client) == _signatures(AsyncClient)


def _signatures(client: type) -> dict[str, list[inspect.Parameter]]:
    functions = inspect.getmembers(client, inspect.isfunction)
    return {
        name: [parameter.replace(annotation=None) for parameter in inspect.signature(function).parameters.values()]
        for name, function in functions
        if not name.startswith("_")
    }
