"""Streams that break off, over real sockets: a server that closes in the middle of what it says."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_client import (
    AnswerUnreadable,
    AsyncClient,
    Client,
    JobFailed,
    NotFound,
    Retries,
    ServerUnreachable,
    WaitTimedOut,
)
from lmms_eval_client.feeds import EventFeed, LogFeed

SOON = Retries(first_pause=0.01, longest_pause=0.02, stream_attempts=3)
EVENTS = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LOG = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Log-Attempt: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
END = "0\r\n\r\n"


def chunk(text: str) -> str:
    return f"{len(text.encode()):x}\r\n{text}\r\n"


def event(status: str, number: int, **fields: object) -> str:
    job = {"job_id": "a", "status": status, "created_at": "2026-01-01T00:00:00Z", "request": {}, **fields}
    return f"event: state\nid: {number}\ndata: {json.dumps(job)}\n\n"


class Server:
    """Gives each connection the next of its answers and closes it."""

    def __init__(self, *answers: str) -> None:
        self.heads: list[str] = []
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for answer in self._answers:
            connection, _ = self._socket.accept()
            with closing(connection):
                self.heads.append(connection.recv(65536).decode())
                connection.sendall(answer.encode())
        self._socket.close()

    def join(self) -> None:
        self._thread.join(timeout=10)


@contextmanager
def serving(*answers: str) -> Iterator[tuple[Server, Client]]:
    server = Server(*answers)
    with Client(server.url, retries=SOON) as client:
        yield server, client
    server.join()


def header(head: str, name: str) -> str | None:
    found = [line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith(f"{name.lower()}: ")]
    return found[0] if found else None


BROKEN_EVENTS = (
    EVENTS
    + chunk(event("queued", 1, position_in_queue=1))
    + chunk(": keep-alive\n\n")
    + chunk("event: state\nid: 2\ndata: {"),
    EVENTS + chunk(event("running", 3)[:40]),
    EVENTS + chunk(event("running", 3)) + END,
    EVENTS + chunk(event("failed", 4, error="It broke.") + "event: end\ndata: {}\n\n") + END,
)


def test_events_go_on_after_the_last_whole_one() -> None:
    with serving(*BROKEN_EVENTS) as (server, client):
        assert [job.status for job in client.events("a")] == ["queued", "running", "failed"]
    assert [header(head, "Last-Event-ID") for head in server.heads] == [None, "1", "1", "3"]


async def test_for_the_async_client_too() -> None:
    server = Server(*BROKEN_EVENTS)
    async with AsyncClient(server.url, retries=SOON) as client:
        assert [job.status async for job in client.events("a")] == ["queued", "running", "failed"]
    server.join()


def answers(cursor: str, *documents: int) -> str:
    samples = [{"document": number, "scored": False} for number in documents]
    return f"event: answers\nid: {cursor}\ndata: {json.dumps({'samples': samples, 'partial': True})}\n\n"


BROKEN_ANSWERS = (
    EVENTS + chunk(answers("one", 0, 1)) + chunk(": keep-alive\n\n") + chunk(answers("two", 2)[:-1]),
    EVENTS + chunk(answers("two", 2, 3)) + END,
    EVENTS + chunk(answers("three", 4) + "event: end\ndata: {}\n\n") + END,
)


def test_answers_go_on_after_the_last_whole_event() -> None:
    with serving(*BROKEN_ANSWERS) as (server, client):
        assert [answer["document"] for answer in client.stream_answers("a", "a/b c")] == [*range(5)]
    assert [header(head, "Last-Event-ID") for head in server.heads] == [None, "one", "two"]
    assert {head.split(" ")[1] for head in server.heads} == {"/jobs/a/samples/a%2Fb%20c/events"}


async def test_answers_for_the_async_client_too() -> None:
    server = Server(*BROKEN_ANSWERS)
    async with AsyncClient(server.url, retries=SOON) as client:
        assert [answer["document"] async for answer in client.stream_answers("a", "mme")] == [*range(5)]
    server.join()


def test_an_event_without_answers_is_told() -> None:
    with (
        serving(EVENTS + chunk("event: answers\nid: x\ndata: 7\n\n")) as (_, client),
        pytest.raises(AnswerUnreadable, match="without answers"),
    ):
        list(client.stream_answers("a", "mme"))


def test_a_wait_over_a_broken_stream_ends_as_the_job_does() -> None:
    seen = []
    with serving(*BROKEN_EVENTS) as (_, client), pytest.raises(JobFailed, match="^Job failed: It broke.$") as caught:
        client.wait("a", on_change=lambda job: seen.append(job.status))
    assert (seen, caught.value.job.job_id) == (["queued", "running", "failed"], "a")


def test_a_log_goes_on_after_the_last_whole_line_of_the_same_attempt() -> None:
    with serving(LOG + chunk("eins\nzw"), LOG + chunk("zwölf\nd"), LOG + chunk("drei") + END) as (server, client):
        assert list(client.stream_logs("a")) == ["eins", "zwölf", "drei"]
    assert [head.split(" ")[1] for head in server.heads] == [
        "/jobs/a/logs?follow=true",
        "/jobs/a/logs?follow=true&attempt=2&offset=5",
        "/jobs/a/logs?follow=true&attempt=2&offset=12",
    ]


def test_a_log_whose_beginning_is_not_kept_goes_on_where_it_says() -> None:
    later = LOG.replace("X-Log-Attempt: 2", "X-Log-Attempt: 2\r\nX-Log-Offset: 1000")
    with serving(later + chunk("eins\nzw"), LOG + chunk("zwei\n") + END) as (server, client):
        assert list(client.stream_logs("a", follow=False, offset=7)) == ["eins", "zwei"]
    assert [head.split(" ")[1] for head in server.heads] == [
        "/jobs/a/logs?offset=7",
        "/jobs/a/logs?attempt=2&offset=1005",
    ]


def test_patience_with_a_stream_that_brings_nothing_ends() -> None:
    with serving(EVENTS, EVENTS, EVENTS) as (_, client), pytest.raises(ServerUnreachable):
        list(client.events("a"))


def test_a_refusal_of_a_stream_is_told_at_once() -> None:
    body = json.dumps({"detail": "Job a not found"})
    refused = f"HTTP/1.1 404 Not Found\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with serving(refused) as (_, client), pytest.raises(NotFound, match="Job a not found"):
        list(client.stream_logs("a"))


def test_something_else_than_events_is_told() -> None:
    page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"
    with serving(page) as (_, client), pytest.raises(AnswerUnreadable, match="text/html instead of events"):
        list(client.events("a"))


def test_a_wait_ends_in_time_though_the_server_says_nothing() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        started = time.monotonic()
        with Client(f"http://127.0.0.1:{silent.getsockname()[1]}", retries=SOON) as client, pytest.raises(WaitTimedOut):
            client.wait("a", timeout=0.3)
        assert time.monotonic() - started < 30


def test_a_request_ends_in_time_though_the_server_says_nothing() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.1, retries=Retries(attempts=2, first_pause=0.01)) as client:
            with pytest.raises(ServerUnreachable, match="timed out"):
                client.health()
            assert not client.is_healthy()


@given(st.lists(st.text(alphabet="aä\r :", max_size=5), max_size=8), st.data())
def test_a_log_is_the_same_however_it_is_cut(lines: list[str], data: st.DataObject) -> None:
    lines = [line.rstrip("\r") for line in lines]
    whole = "".join(f"{line}\n" for line in lines).encode()
    feed, read, rest = LogFeed("a", attempt=None, follow=True, offset=0), [], whole
    feed.start_connection(httpx.Response(200))
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        read += feed.read(rest[:size])
        rest = rest[size:]
    assert (read + feed.finish_connection(), feed.offset, feed.ended) == (lines, len(whole), True)


@given(st.data())
def test_events_are_the_same_however_they_are_cut(data: st.DataObject) -> None:
    rest = (
        event("queued", 1, message="ä\u2028b") + ":\r\n\r\n" + event("running", 2) + "event: end\ndata: {}\n\n"
    ).encode()
    feed, read = EventFeed("a"), []
    feed.start_connection(httpx.Response(200, headers={"Content-Type": "text/event-stream"}))
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        read += feed.read(rest[:size])
        rest = rest[size:]
    assert ([(job.status, job.message) for job in read], feed.ended) == (
        [("queued", "ä\u2028b"), ("running", None)],
        True,
    )
