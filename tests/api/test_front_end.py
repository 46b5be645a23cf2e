"""The front end as a process, on a real API server, over HTTP."""

import asyncio
import concurrent.futures
import json
import time
import uuid
from datetime import datetime
from typing import Any

import httpx
import pytest
from front_end_fixtures import TOKEN, FrontEnd, StartFrontEnd
from plain_http import NO_TLS

from lmms_eval_core import names
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import EVALUATIONS, Object
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.schema import format_rfc3339

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SMALL = {"model": "llava_hf", "tasks": ["mme"], "model_args": {"pretrained": "a/b"}, "limit": 8}


def submit(session: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = session.post("/evaluate", json=SMALL | fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def set_status(client: Transport, name: str, **status: Any) -> Object:
    """What the operator and the reporter would write."""
    patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in status.items()]
    return await client.json_patch(EVALUATIONS, name, patch, subresource="status")


def job(session: httpx.Client, name: str, **expected: Any) -> dict[str, Any]:
    """The job, as soon as it is as expected."""
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = session.get(f"/jobs/{name}").raise_for_status().json()
        if all(found[key] == value for key, value in expected.items()):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


async def test_a_job_from_its_submission_to_its_scores(front_end: FrontEnd, client: Transport) -> None:
    with front_end.session() as session:
        submitted = submit(session, foo=1)
        name = submitted["job_id"]
        assert uuid.UUID(name).version == 4
        assert submitted == {
            "job_id": name,
            "status": "queued",
            "position_in_queue": 0,
            "message": "Job queued successfully. Position in queue: 0",
            "warnings": ["Unknown field 'foo' has no effect."],
        }
        stored = await client.get(EVALUATIONS, name)
        assert stored["metadata"]["labels"] == {names.LABEL_CREATED_BY: names.CREATED_BY_API}
        assert stored["spec"]["modelArgs"] == {"pretrained": "a/b"}

        queued = job(session, name)
        assert queued["request"] == {
            "model": "llava_hf",
            "tasks": ["mme"],
            "model_args": {"pretrained": "a/b"},
            "num_fewshot": None,
            "batch_size": None,
            "device": None,
            "limit": 8,
            "gen_kwargs": None,
            "log_samples": True,
            "predict_only": False,
            "num_gpus": 1,
            "output_dir": None,
        }
        assert (queued["result"], queued["error"], queued["started_at"], queued["position_in_queue"]) == (
            None,
            None,
            None,
            0,
        )

        await set_status(
            client, name, phase="Running", reason="Evaluating", startedAt="2026-01-01T00:00:00Z", attempt=1
        )
        running = job(session, name, status="running")
        assert (running["started_at"], running["position_in_queue"]) == ("2026-01-01T00:00:00Z", None)
        assert session.get("/queue").json()["running_job"] == name

        scores = {"mme": {"score,none": {"value": 0.25, "stderr": None}}}
        done = {"phase": "Completed", "reason": "Succeeded", "completedAt": "2026-01-01T00:01:00Z", "scores": scores}
        await set_status(client, name, **done)
        completed = job(session, name, status="completed")
        assert (completed["scores"], completed["completed_at"]) == (scores, "2026-01-01T00:01:00Z")
        assert session.get("/queue").json() == {
            "queue_size": 0,
            "running_job": None,
            "queued_jobs": [],
            "completed_jobs": 1,
            "failed_jobs": 0,
        }


def test_positions_follow_priority_and_age(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        first = submit(session)["job_id"]
        time.sleep(1.1)  # The API server counts in seconds.
        second = submit(session)
        urgent = submit(session, priority=5)
        assert (second["position_in_queue"], urgent["position_in_queue"]) == (1, 0)
        queue = session.get("/queue").json()
        assert queue["queued_jobs"] == [urgent["job_id"], first, second["job_id"]]
        assert queue["queue_size"] == session.get("/health").json()["queue_size"] == 3
        assert [job(session, name)["position_in_queue"] for name in queue["queued_jobs"]] == [0, 1, 2]


async def test_cancel(front_end: FrontEnd, client: Transport) -> None:
    with front_end.session() as session:
        queued, running = submit(session)["job_id"], submit(session)["job_id"]
        await set_status(client, running, phase="Running", reason="Evaluating", attempt=1)
        job(session, running, status="running")

        answer = session.delete(f"/jobs/{queued}")
        assert (answer.status_code, answer.json()) == (200, {"message": f"Job {queued} cancelled"})
        assert job(session, queued)["status"] == "cancelled"
        again = session.delete(f"/jobs/{queued}")
        assert (again.status_code, again.json()["detail"]) == (400, "Job already finished or cancelled")

        for _ in range(2):
            answer = session.delete(f"/jobs/{running}")
            assert (answer.status_code, answer.json()) == (200, {"message": f"Job {running} is being cancelled"})
        for name in (queued, running):
            stored = await client.get(EVALUATIONS, name)
            assert stored["spec"]["cancel"] is True
            assert stored["metadata"]["annotations"][names.ANNOTATION_CANCELLED_BY] == "tests"
            assert stored["metadata"]["annotations"][names.ANNOTATION_REQUEST]

        missing = session.delete("/jobs/nothing")
        assert (missing.status_code, missing.json()["detail"]) == (404, "Job nothing not found")


async def test_a_job_of_kubectl_is_one_like_any_other(front_end: FrontEnd, namespace: str, kubeconfig: str) -> None:
    # Unlike the fixture, it does not wait for the front end.
    client = await transport.connect(namespace=namespace, kubeconfig=kubeconfig)
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "by-hand"},
        "spec": {"model": "vllm", "tasks": ["mme"], "gpus": 2, "batchSize": "auto"},
    }
    await client.create(EVALUATIONS, body)
    with front_end.session() as session:
        # What the watch has not brought yet is read.
        found = session.get("/jobs/by-hand").json()
        assert (found["status"], found["request"]["num_gpus"], found["request"]["batch_size"]) == ("queued", 2, "auto")
        # It has no annotations, which a patch must not stumble over.
        assert session.delete("/jobs/by-hand").status_code == 200
        await client.delete(EVALUATIONS, "by-hand", uid=(await client.get(EVALUATIONS, "by-hand"))["metadata"]["uid"])
        deadline = time.monotonic() + 60
        while session.get("/jobs/by-hand").status_code != 404:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    await client.close()


def test_refusals_of_the_api_server_speak_the_words_of_the_request(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        answer = session.post("/evaluate", json=SMALL | {"num_fewshot": -1, "priority": 1000, "model": "a b"})
        assert answer.status_code == 422
        said = {tuple(item["loc"]): item["msg"] for item in answer.json()["detail"]}
        assert said[("body", "num_fewshot")] == "num_fewshot should be greater than or equal to 0"
        assert "adapter" in said[("body", "model")]
        assert ("body", "priority") in said
        assert {item["pointer"] for item in answer.json()["errors"]} == {"#/num_fewshot", "#/priority", "#/model"}
        assert session.get("/queue").json()["queue_size"] == 0


BAD_BODIES: list[tuple[bytes, str | None]] = [
    (b'{"model": "a"}', "missing"),
    (b'{"model": "a", "tasks": "mme"}', "list_type"),
    (b'{"model": "a", "tasks": []}', "value_error"),
    (b'{"model": "a", "tasks": ["mme"], "model_args": {"api_key": "sk-planted"}}', "value_error"),
    (b'{"model": "a", "tasks": ["mme"], "model_args": "api_key=sk-planted"}', "dict_type"),
    (b'{"model": "a", "tasks": ["mme"], "limit": NaN}', "value_error"),
    (b'{"model": "a", "tasks": ["mme"], "limit": 1e999}', "value_error"),
    (b'{"model": "a\\ud800", "tasks": ["mme"]}', None),
    (b'{"model": "a", "tasks": ["mme"], "model_args": {"\\ud800": 1}}', "value_error"),
    (b'{"model": "a", "tasks": ["mme"], "num_gpus": 1000000000000000000000000000000}', None),
    (b'{"model": "a", ', "json_invalid"),
    (b"[" * 100_000, None),
    (b"\xff\xfe", None),
    (b"", "missing"),
]


def test_a_bad_body_is_refused_and_never_repeated(front_end: FrontEnd, subtests: pytest.Subtests) -> None:
    with front_end.session() as session:
        for content, kind in BAD_BODIES:
            with subtests.test(content=content[:80]):
                answer = session.post("/evaluate", content=content, headers={"Content-Type": "application/json"})
                assert answer.status_code in (400, 422), answer.text
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert "sk-planted" not in answer.text
                if kind is not None:
                    assert answer.json()["detail"][0]["type"] == kind
    assert "sk-planted" not in front_end.log.read_text()


def test_errors_are_problems_with_the_originals_detail(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        answer = session.get("/jobs/nothing", headers={"X-Request-ID": "mine-1"})
        assert answer.json() == {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "Job nothing not found",
            "request_id": "mine-1",
        }
        assert answer.headers["X-Request-ID"] == "mine-1"
        assert session.get("/nowhere").json()["detail"] == "Not Found"
        assert session.get("/queue/").status_code == 404
        assert session.put("/queue").json()["detail"] == "Method Not Allowed"
        assert session.get("/queue", headers={"X-Request-ID": "a\tb"}).headers["X-Request-ID"] != "a\tb"


def test_what_is_no_name_never_becomes_a_url(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        for name in ("..", "a?watch=1", "A", "a/../b", "x" * 64, "a\nb", "%2e%2e%2fsecrets", "é"):
            escaped = "".join(f"%{byte:02x}" for byte in name.encode())
            assert session.get(f"/jobs/{escaped}").status_code == 404


def test_large_bodies_are_refused_announced_or_not(front_end: FrontEnd) -> None:
    large = json.dumps(SMALL | {"gen_kwargs": "x" * 300_000}).encode()
    headers = {"Content-Type": "application/json"}
    with front_end.session() as session:
        announced = session.post("/evaluate", content=large, headers=headers)
        streamed = session.post("/evaluate", content=iter([large[:100_000], large[100_000:]]), headers=headers)
        for answer in (announced, streamed):
            assert answer.status_code == 413
            assert "larger than" in answer.json()["detail"]
        assert session.get("/health").json()["status"] == "healthy"


def test_fifty_at_once_are_fifty_jobs(front_end: FrontEnd) -> None:
    with front_end.session() as session, concurrent.futures.ThreadPoolExecutor(16) as pool:
        jobs = list(pool.map(lambda number: submit(session, priority=number), range(50)))
        # Every sender can read its own job, and the line is whole.
        found = list(pool.map(lambda sent: session.get(f"/jobs/{sent['job_id']}").json()["status"], jobs))
        assert found == ["queued"] * 50
        assert session.get("/queue").json()["queued_jobs"] == [sent["job_id"] for sent in reversed(jobs)]


def test_tokens_are_rotated_without_a_restart(front_end: FrontEnd) -> None:
    (front_end.tokens / "next").write_text("the-next-token")
    time.sleep(1.1)
    with front_end.session("the-next-token") as new, front_end.session() as old:
        assert new.get("/queue").status_code == old.get("/queue").status_code == 200
        (front_end.tokens / "tests").unlink()
        time.sleep(1.1)
        assert (new.get("/queue").status_code, old.get("/queue").status_code) == (200, 401)
    log = front_end.log.read_text()
    assert TOKEN not in log
    assert "the-next-token" not in log


def test_it_ends_in_good_order(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        session.get("/queue")
        assert front_end.stop() == 0
    events = [json.loads(line) for line in front_end.log.read_text().splitlines()]
    requests = [event for event in events if event["event"] == "request"]
    assert requests[-1].items() >= {"method": "GET", "path": "/queue", "status": 200, "caller": "tests"}.items()
    assert not [event for event in events if event["level"] in ("error", "critical")]


def test_without_a_token_it_says_what_to_do_and_ends(start_front_end: StartFrontEnd) -> None:
    refused = start_front_end(LMMS_EVAL_API_TOKENS="/nowhere")
    assert refused.process.wait(timeout=60) == 1
    assert refused.log.read_text().startswith("lmms-eval-api: There is no token in /nowhere: mount a Secret there")


def test_below_a_path_prefix_stripped_or_not(start_front_end: StartFrontEnd) -> None:
    front_end = start_front_end(LMMS_EVAL_API_ROOT_PATH="/evaluations")
    front_end.wait_until_ready()
    with front_end.session() as session:
        assert session.get("/evaluations/queue").status_code == session.get("/queue").status_code == 200
        assert "/evaluations/openapi.json" in session.get("/docs").text
    assert httpx.get(f"{front_end.url}/evaluations/queue", trust_env=False, verify=NO_TLS).status_code == 401


def test_times_are_utc_and_say_so(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        name = submit(session)["job_id"]
        for moment in (job(session, name)["created_at"], session.get("/health").json()["timestamp"]):
            assert moment == format_rfc3339(datetime.fromisoformat(moment))
