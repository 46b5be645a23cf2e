"""The front end of the installed chart: submit, follow, cancel; closed without the token."""

import time
from typing import Any

import httpx
import pytest
from release_fixtures import REQUEST

pytestmark = pytest.mark.system


def wait_for(http: httpx.Client, job: str) -> dict[str, Any]:
    deadline = time.monotonic() + 300
    while True:
        answer = http.get(f"/jobs/{job}")
        # A 503 is asked again, as the manual says.
        assert answer.status_code in (200, 503), answer.text
        info: dict[str, Any] = answer.json()
        if info["status"] in ("completed", "failed", "cancelled"):
            return info
        assert time.monotonic() < deadline, info
        time.sleep(0.5)


def test_a_queued_job_is_cancelled_over_http(http: httpx.Client) -> None:
    first = http.post("/evaluate", json=REQUEST).json()["job_id"]
    second = http.post("/evaluate", json=REQUEST).json()["job_id"]
    assert http.delete(f"/jobs/{second}").status_code == 200
    assert wait_for(http, second)["status"] == "cancelled"
    assert http.delete(f"/jobs/{first}").status_code == 200
    assert wait_for(http, first)["status"] == "cancelled"


def test_it_is_closed_without_the_token(http: httpx.Client) -> None:
    for method, path in (
        ("POST", "/evaluate"),
        ("GET", "/queue"),
        ("GET", "/jobs/x"),
        ("DELETE", "/jobs/x"),
        ("GET", "/docs"),
    ):
        answer = httpx.request(method, str(http.base_url.join(path)), headers={"Authorization": "Bearer wrong"})
        assert answer.status_code == 401, (path, answer.text)


def test_bad_input_gets_a_sentence(http: httpx.Client) -> None:
    answer = http.post("/evaluate", json={**REQUEST, "model_args": {"api_key": "sk-123"}})
    assert answer.status_code == 422 and "env" in answer.text and "sk-123" not in answer.text
    assert http.get("/jobs/none").json()["detail"] == "Job none not found"
