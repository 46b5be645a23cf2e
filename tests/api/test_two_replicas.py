"""Two front ends on one API server: who writes at one and reads at the other, at once, reads what it wrote."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from front_end_fixtures import TOKEN, FrontEnd, StartFrontEnd

from lmms_eval_api.routes.dependencies import CATCH_UP_SECONDS, COOKIE

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SMALL = {"model": "llava_hf", "tasks": ["mme"], "limit": 8}
ROUNDS = 200


class Balanced(httpx.BaseTransport):
    """A load balancer at its worst: each request goes to the other replica."""

    def __init__(self, *replicas: FrontEnd) -> None:
        self._replicas = itertools.cycle([httpx.URL(replica.url) for replica in replicas])
        self._transport = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        replica = next(self._replicas)
        # A copy: the session keeps cookies by the address that it knows.
        url = request.url.copy_with(host=replica.host, port=replica.port)
        return self._transport.handle_request(
            httpx.Request(request.method, url, headers=request.headers, stream=request.stream)
        )

    def close(self) -> None:
        self._transport.close()


@pytest.fixture
def replicas(start_front_end: StartFrontEnd) -> tuple[FrontEnd, FrontEnd]:
    started = start_front_end(), start_front_end()
    for each in started:
        each.wait_until_ready()
    return started


@contextmanager
def balanced(replicas: tuple[FrontEnd, FrontEnd]) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(
        transport=Balanced(*replicas), base_url="http://front-end", headers=headers, timeout=30
    ) as session:
        yield session


def stale_answers(session: httpx.Client, *, forgetful: bool) -> list[str]:
    """Writes and reads in turn; what was read that was older than what had been written."""
    stale = []

    def read(path: str, key: str, expected: Any) -> None:
        if forgetful:
            session.cookies.clear()
        answer = session.get(path)
        while "Warning" in answer.headers:
            # On a busy machine the watch may be so far behind that the answer says so.
            answer = session.get(path)
        found = answer.json().get(key)
        if found != expected:
            stale.append(f"{path}: {key} is {found!r} and was made {expected!r}")

    def write(method: str, path: str, body: Any = None) -> Any:
        answer = session.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    for number in range(ROUNDS):
        name = write("POST", "/evaluate", SMALL)["job_id"]
        read("/queue", "queued_jobs", [name])
        write("PATCH", f"/jobs/{name}", {"priority": number % 100 + 1})
        read(f"/jobs/{name}", "priority", number % 100 + 1)
        write("DELETE", f"/jobs/{name}")
        read(f"/jobs/{name}", "status", "cancelled")
    return stale


def test_two_hundred_times_nothing_is_older_than_what_was_written(replicas: tuple[FrontEnd, FrontEnd]) -> None:
    with balanced(replicas) as session:
        assert stale_answers(session, forgetful=False) == []


def test_without_the_cookie_it_would_be(replicas: tuple[FrontEnd, FrontEnd]) -> None:
    with balanced(replicas) as session:
        assert stale_answers(session, forgetful=True)


def test_the_cookie_says_a_version_and_stays_with_the_front_end(replicas: tuple[FrontEnd, FrontEnd]) -> None:
    with replicas[0].session() as session:
        answer = session.post("/evaluate", json=SMALL)
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(f"{COOKIE}=") and answer.cookies[COOKIE].isdigit()
        assert {part.strip().lower() for part in cookie.split(";")[1:]} == {
            "httponly",
            "max-age=60",
            "path=/",
            "samesite=strict",
        }
        for nonsense in ("x", "-1", "9" * 40, "1e9", ""):
            read = session.get("/queue", headers={"Cookie": f"{COOKIE}={nonsense}"})
            assert (read.status_code, read.elapsed.total_seconds() < CATCH_UP_SECONDS) == (200, True)


def test_a_version_that_never_comes_is_waited_for_a_little_and_then_read(replicas: tuple[FrontEnd, FrontEnd]) -> None:
    with replicas[0].session() as session:
        name = session.post("/evaluate", json=SMALL).json()["job_id"]
        future = {"Cookie": f"{COOKIE}={10**18}"}
        answer = session.get(f"/jobs/{name}", headers=future)
        assert (answer.status_code, answer.json()["status"]) == (200, "queued")
        assert CATCH_UP_SECONDS - 0.1 < answer.elapsed.total_seconds() < CATCH_UP_SECONDS + 10


def test_who_comes_back_to_the_other_replica_is_told_only_what_is_new(replicas: tuple[FrontEnd, FrontEnd]) -> None:
    first, second = replicas
    with first.session() as session:
        names = []
        for _ in range(2):
            names.append(session.post("/evaluate", json=SMALL).json()["job_id"])
            time.sleep(1.1)  # The API server counts in seconds.
    before, name = names
    with first.followed(name) as events:
        seen = next(events)
    assert seen.json()["position_in_queue"] == 1
    known(second, name)
    with changed_later(first, f"/jobs/{name}", priority=7), second.followed(name, seen.id) as events:
        # Nothing was told before the change, which came by the first one.
        changed = next(events)
        assert (changed.json()["priority"], changed.json()["position_in_queue"]) == (7, 0)
    # And what is new is told at once: a place in the queue as well, which is no change of the job.
    with second.session() as session:
        session.patch(f"/jobs/{before}", json={"priority": 8}).raise_for_status()
    with first.followed(name, changed.id) as events:
        moved = next(events)
    assert moved.json()["position_in_queue"] == 1
    with first.session() as session:
        session.delete(f"/jobs/{name}").raise_for_status()
    with second.followed(name, moved.id) as events:
        assert next(events).json()["status"] == "cancelled"


def known(replica: FrontEnd, name: str) -> None:
    """Waits until the replica has heard of the job by its watch."""
    deadline = time.monotonic() + 60
    with replica.session() as session:
        while name not in session.get("/queue").json()["queued_jobs"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@contextmanager
def changed_later(replica: FrontEnd, path: str, **fields: Any) -> Iterator[None]:
    """Changes a job half a second after the block has begun."""

    def change() -> None:
        with replica.session() as session:
            session.patch(path, json=fields).raise_for_status()

    later = threading.Timer(0.5, change)
    later.start()
    yield
    later.join()
