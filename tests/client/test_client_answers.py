"""Answers with what a run or an older front end may have put into them, without a server: read, or refused with a
sentence.
"""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import httpx
import pytest

from lmms_eval_client import AnswerUnreadable, Client, Results
from lmms_eval_client.cli import queue, results

JOB = {
    "job_id": "a",
    "status": "queued",
    "created_at": "2026-01-01T00:00:00Z",
    "request": {"model": "m", "tasks": ["t"]},
}
DIGITS = b"9" * 5000
DEEP = b"[" * 300 + b"]" * 300


def client(answers: dict[str, bytes | int]) -> Client:
    """A client of a server that has these answers, and one for every job that is not among them."""

    def answer(request: httpx.Request) -> httpx.Response:
        found = answers.get(request.url.path, json.dumps(JOB).encode())
        return (
            httpx.Response(found, json={"detail": "no"})
            if isinstance(found, int)
            else httpx.Response(200, content=found)
        )

    return Client("http://lmms-eval", transport=httpx.MockTransport(answer))


def printed(command: Callable[..., None], *arguments: Any, **options: Any) -> str:
    with redirect_stdout(io.StringIO()) as out:
        command(*arguments, **options)
    return out.getvalue()


def results_file(value: bytes, *, key: str = "acc,none") -> bytes:
    return b'{"results": {"t": {%s: %s, "other,none": 0.5}}, "n-shot": {"t": 0}}' % (json.dumps(key).encode(), value)


@pytest.mark.parametrize("options", [{}, {"as_json": True}, {"as_csv": True}])
@pytest.mark.parametrize("value", [DIGITS, b'"' + DIGITS + b'"', b"[" + DIGITS + b"]", b"NaN", b"-" + DIGITS])
def test_results_with_a_value_of_5000_digits_are_shown(options: dict[str, bool], value: bytes) -> None:
    with client({"/jobs/a/results": results_file(value)}) as made:
        assert "0.5" in printed(results.results, made, "a", **options)


def test_a_table_is_made_of_any_integer() -> None:
    assert "10000" in Results({"results": {"t": {"m,none": 10**5000, "m_stderr,none": 10**400}}}).table()


def test_csv_holds_no_formula_and_no_control_character() -> None:
    found = results_file(b'"=1+1"', key="\x1b[31m@SUM,none")
    with client({"/jobs/a/results": found}) as made:
        text = printed(results.results, made, "a", as_csv=True)
    assert "\x1b" not in text
    assert "'@SUM" in text and "'=1+1" in text


def test_an_answer_of_brackets_is_refused_with_a_sentence() -> None:
    with (
        client({"/jobs/a": b'{"request": %s}' % DEEP}) as made,
        pytest.raises(AnswerUnreadable, match="nested deeper than"),
    ):
        made.job("a")
    with client({"/jobs/a": b"[" * 100_000}) as made, pytest.raises(AnswerUnreadable):
        made.get_job("a")


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        (json.dumps({**JOB, "job_id": "b"})[:-1].encode() + b', "request": {"x": %s}}' % DEEP, "nested deeper than"),
        (500, "no"),
        (404, None),
        (json.dumps({**JOB, "job_id": "b", "request": {}}).encode(), "WaitingForTurn"),
        (json.dumps({**JOB, "job_id": "b", "request": {"model": 7, "tasks": "t"}}).encode(), "7"),
    ],
    ids=["deep", "500", "gone", "empty", "odd"],
)
def test_one_job_that_cannot_be_read_does_not_end_top(answer: bytes | int, row: str | None) -> None:
    waiting = {"queue_size": 3, "queued_jobs": ["a", "b", "c"]}
    odd = (
        answer.replace(b'"queued",', b'"queued", "reason": "WaitingForTurn",') if isinstance(answer, bytes) else answer
    )
    answers = {"/queue": json.dumps(waiting).encode(), "/jobs": b'{"jobs": []}', "/jobs/b": odd}
    with client(answers) as made:
        headline, _, *rows = printed(queue.top, made, once=True).splitlines()
    assert headline.startswith("0 running, 3 queued")
    assert len(rows) == (3 if row else 2)
    assert not row or row in rows[1]
