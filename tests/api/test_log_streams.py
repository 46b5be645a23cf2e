"""Logs over HTTP, through a real API server: from the node while it has them, from the store
afterwards, byte for byte.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from deployment import Kubectl
from front_end_fixtures import FrontEnd, StartFrontEnd
from kubelet_fixtures import FakeKubelet, PodLog, create_pod_on_node
from s3_fixtures import S3Server

from lmms_eval_api.routes.logs import ATTEMPT, OFFSET
from lmms_eval_core import layout, names
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.log_marks import FIRST, PREFIX, format_mark
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter.content import compressed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

REQUEST = {"model": "llava_hf", "tasks": ["mme"]}
BEGINNING = f"{PREFIX}{FIRST}1 of team/a: python -m lmms_eval\n".encode()


@dataclass
class Scene:
    """A front end with a store and a node, and one job in it."""

    front_end: FrontEnd
    kubectl: Kubectl
    namespace: str
    node: FakeKubelet
    store: ObjectStore
    job: str = ""

    def submit(self) -> str:
        with self.front_end.session() as session:
            self.job = str(session.post("/evaluate", json=REQUEST).raise_for_status().json()["job_id"])
        return self.job

    def run(self, attempt: int = 1) -> PodLog:
        """The job runs, and its pod has begun to write a log."""
        self.become(phase="Running", reason="Evaluating", attempt=attempt)
        labels = {names.LABEL_EVALUATION_UID: self.uid, names.LABEL_ATTEMPT: str(attempt)}
        create_pod_on_node(self.kubectl, self.namespace, self.pod(attempt), self.node.name, labels)
        written = self.node.logs[self.pod(attempt)] = PodLog()
        written.write(BEGINNING)
        return written

    def become(self, **status: Any) -> None:
        patch = json.dumps({"status": status})
        version = "jsonpath={.metadata.resourceVersion}"
        written = self(
            "patch", "lmmevaluation", self.job, "--subresource=status", "--type=merge", "-p", patch, "-o", version
        )
        asyncio.run(self.front_end.wait_for_version(written))

    def pod_ended(self, attempt: int = 1) -> None:
        ended = {"terminated": {"exitCode": 0}}
        container = {
            "name": names.EVALUATOR_CONTAINER,
            "image": "none",
            "imageID": "",
            "restartCount": 0,
            "ready": False,
        }
        status = {"phase": "Succeeded", "containerStatuses": [container | {"state": ended}]}
        patch = json.dumps({"status": status})
        self("patch", "pod", self.pod(attempt), "--subresource=status", "--type=merge", "-p", patch)
        self.node.logs[self.pod(attempt)].ended = True

    def delete_pod(self, attempt: int = 1) -> None:
        self("delete", "pod", self.pod(attempt), "--grace-period=0", "--force")

    def keep(self, log: bytes, attempt: int = 1) -> None:
        """What the reporter does with the log."""
        key = ArtifactPrefix(self.namespace, self.job, self.uid, attempt).file(layout.LOG_FILE)
        asyncio.run(self.store.put(key, b"".join(compressed(iter([log])))))

    def pod(self, attempt: int) -> str:
        return f"{self.job[:20].rstrip('-')}-a{attempt}"

    @property
    def uid(self) -> str:
        return self("get", "lmmevaluation", self.job, "-o", "jsonpath={.metadata.uid}")

    def __call__(self, *arguments: str) -> str:
        return self.kubectl("--namespace", self.namespace, *arguments)

    def get(self, **query: Any) -> httpx.Response:
        with self.front_end.session() as session:
            return session.get(f"/jobs/{self.job}/logs", params=query)

    def takes_a_follower(self) -> bool:
        with self.front_end.session() as session, session.stream("GET", f"/jobs/{self.job}/logs?follow=true") as answer:
            return answer.status_code == 200

    def follow(self, **query: Any) -> "Follower":
        return Follower(self.front_end, self.job, query)


class Follower:
    """Follows a log in a thread, as a client does."""

    def __init__(self, front_end: FrontEnd, job: str, query: dict[str, Any]) -> None:
        self.text = b""
        self.headers = httpx.Headers()
        self.error: httpx.HTTPError | None = None
        self._response: httpx.Response | None = None
        self._session = front_end.session()
        self._thread = threading.Thread(
            target=self._read, args=(f"/jobs/{job}/logs", {"follow": "true", **query}), daemon=True
        )
        self._thread.start()

    def _read(self, path: str, query: dict[str, Any]) -> None:
        try:
            with self._session as session, session.stream("GET", path, params=query) as response:
                self._response, self.headers = response, response.headers
                for piece in response.iter_raw():
                    self.text += piece
        except httpx.HTTPError as error:
            self.error = error

    def hang_up(self) -> None:
        if self._response is not None:
            stream = self._response.extensions["network_stream"]
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def sees(self, text: bytes) -> None:
        until(lambda: self.text == text, lambda: f"{self.text!r} is not {text!r}")

    def answered(self) -> None:
        until(lambda: bool(self.headers))

    def ends(self, seconds: float = 60) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive()

    @property
    def going_on(self) -> bool:
        return self._thread.is_alive()


def until(reached: Callable[[], bool], why: Callable[[], str] = lambda: "", seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


@pytest.fixture
def scene(
    start_front_end: StartFrontEnd, kubectl: Kubectl, namespace: str, fake_kubelet: FakeKubelet, s3_server: S3Server
) -> Iterator[Scene]:
    front_end = start_front_end(LMMS_EVAL_API_MAX_LOG_FOLLOWS="3", **s3_server.environment())
    front_end.wait_until_ready()
    store = ObjectStore(StoreSettings.from_environment(s3_server.environment()))
    scene = Scene(front_end, kubectl, namespace, fake_kubelet, store)
    scene.submit()
    yield scene


async def test_the_client_streams_what_the_node_has(
    client: Transport, kubectl: Kubectl, namespace: str, fake_kubelet: FakeKubelet
) -> None:
    async def text(name: str, **options: Any) -> bytes:
        stream = client.pod_log_stream(name, container="evaluator", **options)
        return b"".join([piece async for piece in stream])

    with pytest.raises(errors.NotFound):
        await text("nothing")
    create_pod_on_node(kubectl, namespace, "a", fake_kubelet.name, {})
    with pytest.raises(errors.Invalid, match="waiting to start"):
        await text("a")
    log = fake_kubelet.logs["a"] = PodLog()
    log.write(b"one\ntwo\n")
    assert (await text("a"), await text("a", tail_lines=1)) == (b"one\ntwo\n", b"two\n")
    following = asyncio.create_task(text("a", follow=True))
    await asyncio.sleep(0.3)
    log.write(b"three\n")
    log.ended = True
    assert await following == b"one\ntwo\nthree\n"


def test_a_log_is_followed_and_taken_up_again_where_it_broke_off(scene: Scene) -> None:
    assert scene.get().status_code == 404 and "has not started" in scene.get().json()["detail"]
    early = scene.follow()
    early.answered()
    assert early.headers[ATTEMPT] == "1"
    log = scene.run()
    early.sees(BEGINNING)
    log.write("zweite Zeile: ä\n".encode())
    early.sees(log.content)
    answer = scene.get()
    assert (answer.content, answer.headers[ATTEMPT], answer.headers[OFFSET]) == (log.content, "1", "0")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    late = scene.follow(offset=len(BEGINNING))
    late.sees(log.content[len(BEGINNING) :])
    assert late.headers[OFFSET] == str(len(BEGINNING))
    log.write(b"last line\n")
    whole = log.content
    scene.keep(whole)
    scene.pod_ended()
    for follower in (early, late):
        follower.ends()
        assert follower.error is None
    assert (early.text, late.text) == (whole, whole[len(BEGINNING) :])
    scene.delete_pod()
    for offset in (0, 7, len(whole) - 1, len(whole), len(whole) + 5):
        answer = scene.get(offset=offset)
        assert (answer.status_code, answer.content) == (200, whole[offset:])
    assert scene.get(tail=1).content == b"last line\n"
    again = scene.follow(offset=len(BEGINNING), attempt=1)
    again.ends()
    assert again.text == whole[len(BEGINNING) :]


def test_a_pod_that_goes_away_under_a_reader_is_gone_on_with_from_the_store(scene: Scene) -> None:
    log = scene.run()
    follower = scene.follow()
    follower.sees(log.content)
    scene.keep(log.content + b"the rest\n")
    scene.delete_pod()
    log.ended = True
    follower.sees(log.content + b"the rest\n")
    follower.ends()


def test_of_a_long_log_the_node_has_the_end(scene: Scene) -> None:
    log = scene.run()
    log.write(b"x" * 1000 + b"\n")
    log.write(f"{PREFIX}{format_mark(len(log.content))}\n".encode() + b"more\n")
    whole = log.content
    log.rotate(100)
    first = len(whole) - 100
    answer = scene.get()
    assert (answer.content, answer.headers[OFFSET]) == (whole[first:], str(first))
    answer = scene.get(offset=len(whole) - 5)
    assert (answer.content, answer.headers[OFFSET]) == (b"more\n", str(len(whole) - 5))
    follower = scene.follow(offset=10)
    follower.sees(whole[first:])
    assert follower.headers[OFFSET] == str(first)
    log.rotate(5)
    answer = scene.get(offset=3)
    assert (answer.content, OFFSET in answer.headers) == (b"more\n", False)
    scene.keep(whole)
    scene.pod_ended()
    follower.ends()


def test_the_last_lines(scene: Scene) -> None:
    log = scene.run()
    log.write(b"1\n2\n3\n")
    assert (scene.get(tail=2).content, scene.get(tail=100).content) == (b"2\n3\n", log.content)
    follower = scene.follow(tail=1)
    follower.sees(b"3\n")
    log.write(b"4\n")
    follower.sees(b"3\n4\n")
    scene.pod_ended()
    scene.become(phase="Completed", reason="Succeeded")
    assert scene.get(tail=1, offset=1).status_code == 422
    assert scene.get(tail=0).status_code == scene.get(offset=-1).status_code == scene.get(attempt=0).status_code == 422


def test_every_attempt_has_its_log(scene: Scene) -> None:
    scene.run().write(b"first\n")
    scene.pod_ended()
    scene.run(attempt=2).write(b"second\n")
    second, first = scene.get(), scene.get(attempt=1)
    assert (second.headers[ATTEMPT], second.content) == ("2", BEGINNING + b"second\n")
    assert (first.headers[ATTEMPT], first.content) == ("1", BEGINNING + b"first\n")
    third = scene.get(attempt=3)
    assert (third.status_code, "attempt 3" in third.json()["detail"]) == (404, True)


def test_who_waits_for_a_job_that_is_cancelled_is_not_kept(scene: Scene) -> None:
    follower = scene.follow()
    follower.answered()
    with scene.front_end.session() as session:
        assert session.delete(f"/jobs/{scene.job}").status_code == 200
    follower.ends()
    assert (follower.text, follower.error) == (b"", None)
    assert "it was cancelled" in scene.get().json()["detail"]


def test_an_attempt_that_found_the_results_of_an_earlier_one_shows_that_log(scene: Scene) -> None:
    scene.keep(BEGINNING, attempt=1)
    uri = f"s3://artifacts/{ArtifactPrefix(scene.namespace, scene.job, scene.uid, 1).path}"
    scene.become(phase="Running", reason="Publishing", attempt=2)
    scene.become(phase="Completed", reason="Succeeded", artifacts={"uri": uri})
    answer = scene.get()
    assert (answer.headers[ATTEMPT], answer.content) == ("1", BEGINNING)
    assert scene.get(attempt=2).status_code == 404


def test_more_followers_than_allowed_are_told_to_come_later_and_a_hang_up_makes_room(scene: Scene) -> None:
    log = scene.run()
    followers = [scene.follow() for _ in range(3)]
    for follower in followers:
        follower.sees(BEGINNING)
    refused = scene.get(follow=True)
    assert (refused.status_code, int(refused.headers["Retry-After"]) > 0) == (429, True)
    assert scene.get().status_code == 200
    until(lambda: log.streams == 3)
    for follower in followers:
        follower.hang_up()
    until(lambda: log.streams == 0, lambda: f"{log.streams} streams are open on the node")
    # The node knows of it a moment before the front end does.
    until(lambda: scene.takes_a_follower())
    again = scene.follow()
    again.sees(BEGINNING)


def test_a_stop_of_the_server_breaks_streams_off_at_once_and_visibly(scene: Scene) -> None:
    log = scene.run()
    follower = scene.follow()
    follower.sees(BEGINNING)
    began = time.monotonic()
    assert scene.front_end.stop() == 0
    # It waits 20 s for what does not end by itself.
    assert time.monotonic() - began < 15
    follower.ends()
    assert isinstance(follower.error, httpx.RemoteProtocolError)
    until(lambda: log.streams == 0)


def test_a_node_that_is_gone_is_not_the_job_s_end(scene: Scene) -> None:
    scene.run()
    scene.node.shutdown()
    scene.node.server_close()
    answer = scene.get()
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    scene.keep(BEGINNING)
    assert scene.get().content == BEGINNING
