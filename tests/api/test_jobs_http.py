"""GET /jobs, PATCH, and what DELETE and POST /merge may refuse: over HTTP, on a real API server."""

from typing import Any

import httpx
import pytest
from front_end_fixtures import FrontEnd, StartFrontEnd

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SMALL = {"model": "llava_hf", "tasks": ["mme"], "limit": 8}


def submit(session: httpx.Client, **fields: Any) -> str:
    answer = session.post("/evaluate", json=SMALL | fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["job_id"])


def listed(session: httpx.Client, **query: Any) -> list[str]:
    return [job["job_id"] for job in session.get("/jobs", params=query).raise_for_status().json()["jobs"]]


async def test_jobs_are_listed_page_by_page_and_filtered(front_end: FrontEnd, client: Transport) -> None:
    with front_end.session() as session:
        made = [
            submit(session, name=f"job-{number}", labels={"team": "vision"} if number % 2 else None)
            for number in range(5)
        ]
        submit(session, name="other", model="vllm", tasks=["ai2d", "mme"], priority=3)
        first = session.get("/jobs", params={"limit": 4}).json()
        rest = session.get("/jobs", params={"limit": 4, "cursor": first["next_cursor"]}).json()
        assert sorted(job["job_id"] for job in first["jobs"] + rest["jobs"]) == sorted([*made, "other"])
        assert rest["next_cursor"] is None
        # The newest first, by a clock of seconds.
        found = listed(session, label="team=vision")
        assert (listed(session, label=["team", "team=vision"]), sorted(found)) == (found, ["job-1", "job-3"])
        assert listed(session, model="vllm") == listed(session, task="ai2d") == ["other"]
        assert listed(session, status=["running", "failed"]) == []
        other = session.get("/jobs", params={"model": "vllm"}).json()["jobs"][0]
        assert other.pop("created_at").endswith("Z")
        assert other == {
            "job_id": "other",
            "status": "queued",
            "started_at": None,
            "completed_at": None,
            "model": "vllm",
            "tasks": ["ai2d", "mme"],
            "priority": 3,
            "hold": False,
            "position_in_queue": 0,
            "reason": "WaitingForTurn",
            "message": None,
            "progress": None,
            "summary": None,
            "score": None,
            "suspect": False,
            "labels": {},
        }
        session.delete("/jobs/job-0")
        assert listed(session, status="cancelled") == ["job-0"]


@pytest.mark.parametrize(
    ("query", "field"),
    [({"limit": 0}, "limit"), ({"limit": 501}, "limit"), ({"cursor": "b2xk"}, "cursor"), ({"label": "=a"}, "label")]
    + [({"status": "paused"}, "status"), ({"label": ["a"] * 17}, "label")],
)
def test_a_query_that_means_nothing_is_refused(front_end: FrontEnd, query: dict[str, Any], field: str) -> None:
    with front_end.session() as session:
        answer = session.get("/jobs", params=query)
        assert (answer.status_code, answer.json()["detail"][0]["loc"][:2]) == (422, ["query", field])


async def test_what_may_change_of_a_stored_job(front_end: FrontEnd, client: Transport) -> None:
    with front_end.session() as session:
        first, second = submit(session, name="first"), submit(session, name="second")
        changed = session.patch(f"/jobs/{second}", json={"priority": 5, "ttl_seconds_after_finished": 60}).json()
        assert (changed["priority"], changed["ttl_seconds_after_finished"], changed["position_in_queue"]) == (5, 60, 0)
        held = session.patch(f"/jobs/{second}", json={"hold": True}).json()
        assert (held["hold"], held["priority"], held["position_in_queue"]) == (True, 5, 1)
        assert session.get("/queue").json()["queued_jobs"] == [first, second]
        kept = session.patch(f"/jobs/{second}", json={"ttl_seconds_after_finished": None, "priority": None}).json()
        assert (kept["ttl_seconds_after_finished"], kept["priority"]) == (None, 5)
        assert "ttlSecondsAfterFinished" not in (await client.get(EVALUATIONS, second))["spec"]
        assert session.patch(f"/jobs/{second}", json={"keep": True}).json()["keep"] is True
        assert session.patch(f"/jobs/{second}", json={"keep": False}).json()["keep"] is False
        assert session.patch(f"/jobs/{second}", json={}).json()["hold"] is True

        for body, path in (({"priority": 101}, "priority"), ({"model": "x"}, "model"), ({"hold": "perhaps"}, "hold")):
            refused = session.patch(f"/jobs/{second}", json=body)
            assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", path])
        missing = session.patch("/jobs/nothing", json={"priority": 1})
        assert (missing.status_code, missing.json()["detail"]) == (404, "Job nothing not found")


async def test_a_running_job_is_left_alone_where_that_is_asked_for(
    start_front_end: StartFrontEnd, client: Transport
) -> None:
    front_end = start_front_end(LMMS_EVAL_API_CANCEL_RUNNING="false")
    front_end.wait_until_ready()
    with front_end.session() as session:
        running, queued = submit(session), submit(session)
        patch = [{"op": "add", "path": "/status/phase", "value": "Running"}]
        await client.json_patch(EVALUATIONS, running, patch, subresource="status")
        refused = session.delete(f"/jobs/{running}")
        assert (refused.status_code, refused.json()["detail"]) == (400, "Cannot cancel a running job")
        assert session.delete(f"/jobs/{queued}").status_code == 200


def test_checkpoints_are_merged_elsewhere(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        for body in ({}, {"checkpoint_path": "/a"}):
            answer = session.post("/merge", json=body)
            assert (answer.status_code, "merge where you train" in answer.json()["detail"]) == (501, True)
