"""GET /jobs/{job_id}/events as a client reads it: over HTTP, from a process, on a real API server."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import httpx_sse
import pytest
from front_end_fixtures import FrontEnd

from lmms_eval_api.routes.dependencies import COOKIE
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SMALL = {"model": "llava_hf", "tasks": ["mme"], "limit": 8}


@pytest.fixture
def client_session(front_end: FrontEnd) -> Iterator[httpx.Client]:
    with front_end.session() as session:
        yield session


def submit(session: httpx.Client, **fields: Any) -> str:
    return str(session.post("/evaluate", json=SMALL | fields).raise_for_status().json()["job_id"])


async def set_status(client: Transport, name: str, **status: Any) -> None:
    patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in status.items()]
    await client.json_patch(EVALUATIONS, name, patch, subresource="status")


async def test_a_job_is_followed_from_the_queue_to_its_end(front_end: FrontEnd, client: Transport) -> None:
    with front_end.session() as session:
        before = submit(session)
        time.sleep(1.1)  # The API server counts in seconds.  # noqa: ASYNC251  nothing else runs here
        name = submit(session)
        with front_end.followed(name) as events:
            first = next(events)
            assert (first.event, first.json()["position_in_queue"]) == ("state", 1)
            assert first.json() == {
                key: value
                for key, value in session.get(f"/jobs/{name}").json().items()
                if key not in ("output", "samples")
            }
            session.delete(f"/jobs/{before}")
            assert next(events).json()["position_in_queue"] == 0
            progress = {"stage": "Evaluating", "completed": 1, "total": 8, "updatedAt": "2026-01-01T00:00:00Z"}
            await set_status(client, name, phase="Running", reason="Evaluating", progress=progress)
            running = next(events)
            assert (running.json()["status"], running.json()["progress"]["completed"]) == ("running", 1)
            await set_status(client, name, phase="Completed", reason="Succeeded")
            assert next(events).json()["status"] == "completed"
            last = next(events)
            assert (last.event, json.loads(last.data)) == ("end", {})
            assert list(events) == []


def test_a_page_follows_all_jobs_over_one_stream(front_end: FrontEnd, client_session: httpx.Client) -> None:
    with httpx_sse.connect_sse(client_session, "GET", "/events") as source:
        events = source.iter_sse()
        ready = next(events)
        assert (ready.event, ready.json()["resumed"]) == ("ready", False)
        # With its cookie, no answer is older than the stream.
        assert source.response.cookies[COOKIE] == str(ready.json()["revision"])
        name = submit(client_session)
        told = next(event for event in events if event.event == "job")
        assert (told.json()["job_id"], told.json()["status"]) == (name, "queued")
        queue = next(event for event in events if event.event == "queue")
        assert {"job_id": name, "position": 0} in queue.json()["queued_jobs"]
        client_session.delete(f"/jobs/{name}")
        cancelled = next(event for event in events if event.event == "job")
        (listed,) = client_session.get("/jobs").json()["jobs"]
        assert cancelled.json() == listed
        last_id = next(event for event in events if event.event == "queue").id
    again = submit(client_session)
    with httpx_sse.connect_sse(
        client_session, "GET", "/events?queue=false", headers={"Last-Event-ID": last_id}
    ) as source:
        events = source.iter_sse()
        assert next(events).json()["resumed"] is True
        assert next(events).json()["job_id"] == again


def test_who_comes_back_goes_on_where_the_stream_broke_off(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        name = submit(session)
    with front_end.followed(name) as events:
        seen = next(events).id

    def change() -> None:
        with front_end.session() as session:
            session.patch(f"/jobs/{name}", json={"priority": 7})

    later = threading.Timer(0.5, change)
    later.start()
    with front_end.followed(name, seen) as events:
        # Nothing was told before the change.
        assert next(events).json()["priority"] == 7
    later.join()
    with front_end.followed(name, seen) as events:
        assert next(events).json()["priority"] == 7


async def test_a_deleted_job_is_the_end(front_end: FrontEnd, client: Transport) -> None:
    with front_end.session() as session:
        name = submit(session)
    with front_end.followed(name) as events:
        next(events)
        await client.delete(EVALUATIONS, name, uid=(await client.get(EVALUATIONS, name))["metadata"]["uid"])
        assert [event.event for event in events] == ["end"]


def test_a_server_that_stops_lets_its_streams_go(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        name = submit(session)
    with front_end.followed(name) as events:
        next(events)
        started = time.monotonic()
        assert front_end.stop() == 0
        assert list(events) == []
        # It waits 20 s for what does not end by itself.
        assert time.monotonic() - started < 10


def test_no_stream_without_a_job(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        answer = session.get("/jobs/nothing/events")
        assert (answer.status_code, answer.json()["detail"]) == (404, "Job nothing not found")
