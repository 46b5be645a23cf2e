"""What an evaluation leaves, over HTTP, on a real node: its log, with its pod and without, its results and samples."""

import json
import threading
import time
from base64 import b64decode
from typing import Any

import httpx
import obstore
import pytest
import zstandard
from deployment import wait_until
from obstore.store import S3Store
from release_fixtures import REQUEST, TASK, Release

pytestmark = pytest.mark.system

BODY = REQUEST | {"limit": 12, "num_gpus": 0}
FIRST = b"lmms-eval-runner: attempt 1 of "


class Follower(threading.Thread):
    """Follows a log from its first byte, before there is a pod. As a caller should, it asks again where an answer broke
    off; `troubles` says what broke.
    """

    def __init__(self, http: httpx.Client, job: str) -> None:
        super().__init__(daemon=True)
        self.text, self.headers, self.troubles = b"", httpx.Headers(), list[str]()
        self._http, self._job = http, job
        self.start()

    def run(self) -> None:
        deadline = time.monotonic() + 300
        while not self._follow() and time.monotonic() < deadline:
            time.sleep(1)

    def _follow(self) -> bool:
        """Follow from the first byte that is missing; return whether that was all there will be."""
        query: dict[str, str | int] = {"follow": "true", "offset": len(self.text)}
        try:
            with self._http.stream("GET", f"/jobs/{self._job}/logs", params=query, timeout=300) as response:
                if response.status_code != 200:
                    self.troubles.append(f"{response.status_code} {response.read().decode()}")
                    return response.status_code != 503
                self.headers = response.headers
                for piece in response.iter_raw():
                    self.text += piece
        except httpx.TransportError as error:
            self.troubles.append(repr(error))
            return False
        return True


def submit(http: httpx.Client, **fields: Any) -> str:
    answer = http.post("/evaluate", json=BODY | fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["job_id"])


def test_a_log_is_one_text_from_the_first_byte_in_the_pod_to_the_last_in_the_store(
    http: httpx.Client, release: Release
) -> None:
    job = submit(http)
    follower = Follower(http, job)
    deadline = time.monotonic() + 300
    while b"\n" not in follower.text:
        assert time.monotonic() < deadline and follower.is_alive(), follower.troubles
        time.sleep(0.2)
    seen = len(follower.text)
    follower.join(300)
    assert not follower.is_alive(), follower.troubles
    log = follower.text
    assert log.startswith(FIRST) and log.count(FIRST) == 1 and follower.headers["X-Log-Attempt"] == "1"
    status = release.finish(job)
    assert status["phase"] == "Completed", status
    from_pod = http.get(f"/jobs/{job}/logs")
    assert (from_pod.content, from_pod.headers["X-Log-Offset"]) == (log, "0")
    release.deployment("delete", "job", status["attempts"][0]["jobName"], "--wait=true")
    deadline = time.monotonic() + 300
    while release.list_pods(job):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    for offset in (0, seen, len(log) - 1, len(log)):
        answer = http.get(f"/jobs/{job}/logs", params={"offset": offset})
        assert (answer.status_code, answer.content) == (200, log[offset:]), offset
    again = http.get(f"/jobs/{job}/logs", params={"follow": "true", "offset": seen})
    assert again.content == log[seen:]
    assert http.get(f"/jobs/{job}/logs", params={"tail": 2}).content == b"".join(log.splitlines(keepends=True)[-2:])


def test_results_and_samples_are_the_files_of_lmms_eval(http: httpx.Client, release: Release) -> None:
    job = submit(http)
    release.finish(job)
    # Where the store is slow to answer, files are left out, with a warning.
    info = wait_until(
        lambda: not (found := http.get(f"/jobs/{job}", params={"include": "samples"}).json())["warnings"] and found,
        seconds=60,
        what="a job with all that is in the store",
    )
    assert info["status"] == "completed"
    results = http.get(info["links"]["results"]).json()
    assert results == info["output"] and results["results"][TASK]
    assert info["result"] == {
        "models__llava": {"results": info["links"]["results"], "samples": [info["links"]["samples"][TASK]]}
    }
    samples: list[Any] = []
    cursor = None
    while cursor is not None or not samples:
        query = {"limit": 5, **({"cursor": cursor} if cursor else {})}
        page = http.get(info["links"]["samples"][TASK], params=query).json()
        samples, cursor = samples + page["samples"], page["next_cursor"]
    assert samples == stored_samples(release, job)
    assert (len(samples), info["samples"][TASK]) == (12, samples[:10])
    lines = http.get(info["links"]["samples"][TASK], headers={"Accept": "application/x-ndjson"})
    assert [json.loads(line) for line in lines.text.splitlines()] == samples
    metric = next(iter(results["higher_is_better"][TASK]))
    wrong = http.get(info["links"]["samples"][TASK], params={"filter": "wrong"}).json()
    assert wrong["samples"] == [sample for sample in samples if sample[metric] < 1]


def stored_samples(release: Release, job: str) -> list[Any]:
    """The file as it lies in the chart's store."""
    secret = release.deployment.json("get", "secret", f"{release.deployment.release}-store")["data"]
    key, value = (b64decode(secret[name]).decode() for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    bucket, _, path = release.read_status(job)["artifacts"]["uri"].removeprefix("s3://").partition("/")
    with release.deployment.port_forward(f"{release.deployment.release}-s3", 7070) as endpoint:
        options: Any = {"allow_http": True}
        identity: Any = {"access_key_id": key, "secret_access_key": value, "region": "us-east-1"}
        store = S3Store(bucket, endpoint=endpoint, client_options=options, **identity)
        content = bytes(obstore.get(store, f"{path}samples/{TASK}.jsonl.zst").bytes())
    text = zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read()
    return [json.loads(line) for line in text.splitlines()]
