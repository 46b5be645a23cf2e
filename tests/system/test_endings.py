"""Each reason for waiting and each row of the table of endings, brought about on a real node by what brings it about in
life.

Faults of a GPU are played: the task raises what CUDA would.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import deployment
import httpx
import pytest
from chaos.containers import list_containers
from lmms_eval_cluster.settings import cluster_from
from release_fixtures import NO_REGISTRY, STUCK_REGISTRY, Release, build_slow_environment, build_smoke_evaluation

from lmms_eval_core.run import PUBLISHED_FILE
from lmms_eval_core.status import RESULTS_SUSPECT

pytestmark = pytest.mark.system

KEY_SECRET = "lmms-eval-env-endings"
KEY = {"name": "OPENAI_API_KEY", "secretKeyRef": {"name": KEY_SECRET, "key": "key"}}
NO_ENDPOINT = {"model_version": "m", "base_url": "http://127.0.0.1:9/v1", "max_retries": 1}
# A hosted model that has nothing to say to every second question.
TONGUE_TIED = """
import http.server, json

class Model(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Model.asked += 1
        message = {"role": "assistant", "content": "A" * (Model.asked % 2)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        completion = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        body = json.dumps(completion).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.HTTPServer(("", 8000), Model).serve_forever()
"""


def raising(message: str) -> list[dict[str, str]]:
    """Environment of a run whose model raises."""
    return [{"name": "SMOKE_RAISE_AT", "value": "1"}, {"name": "SMOKE_RAISE_MESSAGE", "value": message}]


def cancelled(release: Release, name: str) -> None:
    """The evaluation can be cancelled where it is, and its slot is free at once."""
    release.cancel(name)
    assert release.finish(name)["phase"] == "Cancelled"
    deployment.wait_until(lambda: holder(release) == "", seconds=60, what="free slot")


def holder(release: Release) -> str:
    """Who has the slot."""
    lease = release.deployment.json("get", "lease", "lmms-eval-slot-0")
    return str(lease["spec"].get("holderIdentity") or "")


@pytest.mark.parametrize(
    ("reason", "told", "spec"),
    [
        ("Unschedulable", "Insufficient nvidia.com/gpu", {"gpus": 64}),
        ("VolumePending", "no-such-claim", {"volumes": [{"claimName": "no-such-claim", "mountPath": "/data"}]}),
        ("ImagePullError", NO_REGISTRY, {"image": f"{NO_REGISTRY}/evaluator:1"}),
    ],
)
def test_what_waits_says_why_and_can_be_cancelled(
    release: Release, reason: str, told: str, spec: dict[str, Any]
) -> None:
    name = release.apply(build_smoke_evaluation(f"waits-{reason.lower()}", **spec))
    status = release.wait(name, lambda status: status["reason"] == reason, what=reason)
    assert told in status["message"]
    assert status["phase"] == "Running"
    cancelled(release, name)


@pytest.fixture
def stuck_registry() -> Iterator[None]:
    """STUCK_REGISTRY, in the node's network, takes connections and never answers: a pull from it takes its time."""
    address, port = STUCK_REGISTRY.split(":")
    inside = ["nsenter", f"--net={cluster_from(os.environ, control_plane_only=False).netns}"]
    listen = f"import socket, time; taken = socket.create_server(({address!r}, {port})); "
    listen += "print('listening', flush=True); time.sleep(600)"
    subprocess.run([*inside, "ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    with subprocess.Popen([*inside, sys.executable, "-c", listen], stdout=subprocess.PIPE) as registry:
        assert registry.stdout is not None
        assert registry.stdout.readline() == b"listening\n"
        yield
        registry.kill()
    subprocess.run([*inside, "ip", "address", "delete", f"{address}/32", "dev", "lo"], check=True)


@pytest.mark.usefixtures("stuck_registry")
def test_a_slow_pull_is_told_and_can_be_cancelled(release: Release) -> None:
    name = release.apply(build_smoke_evaluation("waits-pullingimage", image=f"{STUCK_REGISTRY}/evaluator:slow"))
    status = release.wait(name, lambda status: status["reason"] == "PullingImage", what="PullingImage")
    assert f"{STUCK_REGISTRY}/evaluator:slow" in status["message"]
    assert status["phase"] == "Running"
    cancelled(release, name)


@pytest.fixture
def key(release: Release) -> None:
    """A key for a hosted model."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": KEY_SECRET},
        "stringData": {"key": "no-real-key-at-all"},
    }
    release.deployment("apply", "-f", "-", stdin=json.dumps(body))


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("reason", "told", "spec"),
    [
        ("BadArguments", "no_such_adapter", {"model": "no_such_adapter"}),
        ("GPUError", "CUDA", {"env": raising("CUDA error: an illegal memory access was encountered"), "retries": 0}),
        ("AccessDenied", "token", {"tasks": ["mme"]}),
        ("OutOfMemory", "spec.resources.memory", {"resources": {"memory": "400Mi"}}),
        ("DatasetUnavailable", "MME", {"tasks": ["mme"], "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}]}),
        ("Unreachable", "127.0.0.1:9", {"model": "openai", "modelArgs": NO_ENDPOINT, "env": [KEY], "retries": 0}),
        (
            "DeadlineExceeded",
            "spec.timeoutSeconds (15)",
            {"env": build_slow_environment(), "timeoutSeconds": 15, "limit": None},
        ),
        ("Stalled", "spec.stallTimeoutSeconds (20)", {"env": build_slow_environment(600), "stallTimeoutSeconds": 20}),
        ("AllAnswersFailed", "not one of 4 answers", {"genKwargs": "num_beams=0", "retries": 2}),
        ("InvalidSpec", "120 KiB", {"modelArgs": {f"k{number}": "x" * 4000 for number in range(32)}}),
    ],
)
def test_what_fails_for_good(release: Release, reason: str, told: str, spec: dict[str, Any]) -> None:
    name = release.apply(build_smoke_evaluation(f"fails-{reason.lower()}-{len(json.dumps(spec))}", **spec))
    status = release.finish(name)
    assert (status["phase"], status["reason"]) == ("Failed", reason), status
    assert told in status["message"], status
    assert len(status.get("attempts", [])) <= 1


def test_out_of_memory_is_final_where_the_batch_that_failed_is_the_first(release: Release) -> None:
    """In the first attempt another batch came before it; the second begins with it."""
    name = release.apply(
        build_smoke_evaluation("fails-twice", env=raising("CUDA out of memory. Tried to allocate 20.00 GiB."))
    )
    status = release.finish(name)
    assert (status["phase"], status["reason"]) == ("Failed", "OutOfMemory"), status
    assert "CUDA" in status["message"], status
    first, second = status["attempts"]
    assert (first["reason"], second["reason"]) == ("Interrupted", "OutOfMemory"), status
    assert "another attempt goes on with the batch that failed" in first["message"]
    assert second["resumed"]["answers"] == 1


@pytest.fixture
def tongue_tied(release: Release, images: dict[str, str]) -> Iterator[str]:
    """Where that model can be asked."""
    pod = deployment.bare_pod("tongue-tied", image=images["evaluator"], command=["python", "-c", TONGUE_TIED])
    release.deployment("create", "-f", "-", stdin=json.dumps(pod))
    release.deployment("wait", "--for=condition=Ready", "pod/tongue-tied", "--timeout=120s")
    yield f"http://{release.deployment('get', 'pod', 'tongue-tied', '-o', 'jsonpath={.status.podIP}')}:8000/v1"
    release.deployment("delete", "pod", "tongue-tied", "--grace-period=0", "--force")


@pytest.mark.usefixtures("key")
def test_answers_that_look_like_failures_are_no_clean_success(
    release: Release, tongue_tied: str, http: httpx.Client
) -> None:
    endpoint = {"model_version": "m", "base_url": tongue_tied, "max_retries": 1}
    name = release.apply(build_smoke_evaluation("suspect", model="openai", modelArgs=endpoint, env=[KEY]))
    status = release.finish(name)
    assert status["phase"] == "Completed", status
    (doubt,) = [
        said["message"] for said in status["conditions"] if (said["type"], said["status"]) == (RESULTS_SUSPECT, "True")
    ]
    told = http.get(f"/jobs/{name}").raise_for_status().json()
    assert (told["status"], told["warnings"]) == ("completed", [f"The results are suspect: {doubt}."])
    assert told["suspect"] == {"samples": 4, "empty": 2, "failed": 0, "swallowed_errors": 0}


def test_an_attempt_whose_job_others_delete_is_retried(release: Release) -> None:
    """Deleted before the first answer, so that there is nothing to go on with; `test_resume` has the other ways."""
    name = release.apply(build_smoke_evaluation("again-jobdeleted", env=build_slow_environment(10), retries=1))
    status = release.wait_until_evaluating(name)
    release.deployment("delete", "job", status["jobName"], "--wait=false")
    status = release.wait(name, lambda status: status["reason"] == "Retrying", what="Retrying")
    assert status["message"].startswith("attempt 1 of 2 ended as JobDeleted: "), status
    status = release.finish(name)
    assert status["phase"] == "Completed", status
    assert [entry["reason"] for entry in status["attempts"]] == ["JobDeleted", "Succeeded"]


def test_what_fills_its_own_disk_is_evicted_and_not_tried_again(release: Release) -> None:
    name = release.apply(
        build_smoke_evaluation(
            "evicted", env=build_slow_environment(), limit=None, resources={"ephemeralStorage": "50Mi"}
        )
    )
    release.wait_until_evaluating(name)
    pod = release.find_running_pod(name)
    release.deployment("exec", pod, "-c", "evaluator", "--", "dd", "if=/dev/zero", "of=/tmp/much", "bs=1M", "count=200")
    status = release.finish(name)
    assert (status["phase"], status["reason"], len(status["attempts"])) == ("Failed", "Evicted", 1), status
    assert "ephemeral" in status["message"]


def test_a_run_that_ends_well_without_scores_is_tried_again(release: Release) -> None:
    """The reporter is frozen, and the runner is told, in its name, that everything is published."""
    name = release.apply(build_smoke_evaluation("results-missing", env=build_slow_environment(10), retries=1))
    release.wait_until_evaluating(name)
    pod = release.find_running_pod(name)
    state = cluster_from(os.environ, control_plane_only=False).state
    (reporter,) = [
        found for found in list_containers(state, release.deployment.namespace, "reporter") if found.pod == pod
    ]
    os.kill(reporter.pid, signal.SIGSTOP)
    release.deployment("exec", pod, "-c", "evaluator", "--", "touch", f"/run/lmms-eval/{PUBLISHED_FILE}")
    status = release.wait(name, lambda status: status["reason"] == "Retrying", what="Retrying")
    assert status["message"].startswith("attempt 1 of 2 ended as ResultsMissing: "), status
    assert status["attempts"][0]["exitCode"] == 0
    cancelled(release, name)


def test_results_that_cannot_be_published_in_time_are_published_by_the_next_attempt(release: Release) -> None:
    impatient = release.values | {"evaluator": {"publishTimeoutSeconds": 5}}
    store = f"deployment/{release.deployment.release}-s3"
    release.deployment.install(impatient)
    try:
        name = release.apply(build_smoke_evaluation("unpublished", env=build_slow_environment(), retries=3))
        release.wait_until_evaluating(name)
        release.deployment("scale", store, "--replicas=0")
        status = release.wait(name, lambda status: status["reason"] == "Retrying", what="Retrying")
        assert "ended as PublishFailed: " in status["message"], status
        release.deployment("scale", store, "--replicas=1")
        status = release.finish(name)
        assert status["phase"] == "Completed", status
        assert status["attempts"][0]["reason"] == "PublishFailed"
    finally:
        release.deployment("scale", store, "--replicas=1")
        release.deployment.install(release.values)


def test_cancel_of_a_run_whose_results_cannot_be_published(release: Release) -> None:
    store = f"deployment/{release.deployment.release}-s3"
    name = release.apply(build_smoke_evaluation("cancel-publishing", env=build_slow_environment()))
    release.wait_until_evaluating(name)
    release.deployment("scale", store, "--replicas=0")
    try:
        release.wait(name, lambda status: status["reason"] == "Publishing", what="Publishing")
        release.cancel(name)
        assert release.finish(name)["phase"] == "Cancelled"
    finally:
        release.deployment("scale", store, "--replicas=1")


@pytest.mark.outage
@pytest.mark.lost_node
class TestALostNode:
    """The node's kubelet is stopped: nobody can say whether the run goes on."""

    @pytest.fixture(autouse=True)
    def returned(self, release: Release) -> Iterator[None]:
        """The node comes back after the test, and with it operator, front end and store: those who come next find them
        ready.
        """
        yield
        deployment.program("cluster", "start", "kubelet")
        deployment.program("cluster", "up", "--gpus", "1")
        release.deployment.install(release.values)

    def silent(self, release: Release, name: str) -> Any:
        """The status once the node is known to be silent."""
        release.wait_until_evaluating(name)
        deployment.program("cluster", "stop", "kubelet")
        return release.wait(
            name, lambda status: status["reason"] == "NodeUnreachable", what="NodeUnreachable", seconds=180
        )

    def test_the_run_goes_on_once_the_node_is_taken_out_of_the_cluster(self, release: Release) -> None:
        undisturbed = release.finish(release.apply(build_smoke_evaluation("node-kept", limit=None)))
        name = release.apply(build_smoke_evaluation("node-lost", env=build_slow_environment(), limit=None, retries=1))
        release.wait(name, lambda status: status.get("progress", {}).get("kept", 0) > 0, what="kept in the store")
        self.silent(release, name)
        assert holder(release).startswith(f"{name}/")
        # What an operator of the cluster does, or the cloud. (With a second node, the pod's own time-out would do.)
        release.deployment("delete", "node", "--all")
        deployment.wait_until(lambda: not release.list_pods(name), seconds=180, what="end of the lost node's pod")
        # Our operators were on that node, too: with their pods their tokens went, and whoever comes next has to carry
        # on.
        deployment.program("cluster", "start", "kubelet")
        deployment.program("cluster", "up", "--gpus", "1")
        status = release.finish(name)
        # Whether an operator with a token was left to see the pod's last state, which names the node, is a matter of
        # luck.
        lost, last = status["attempts"]
        assert (lost["reason"] in ("NodeLost", "PodDeleted"), last["reason"]) == (True, "Succeeded"), status
        assert last["resumed"]["answers"] > 0 and status["scores"] == undisturbed["scores"], status

    def test_cancel_waits_for_the_node_or_for_the_manual_release(self, release: Release) -> None:
        name = release.apply(build_smoke_evaluation("node-dead", env=build_slow_environment(), limit=None))
        self.silent(release, name)
        release.cancel(name)
        time.sleep(5)
        assert release.read_status(name)["reason"] == "NodeUnreachable"
        assert holder(release).startswith(f"{name}/")
        release.deployment("delete", "job", "-l", f"lmms-eval.io/evaluation={name}", "--wait=false")
        release.deployment("delete", "pod", "-l", f"lmms-eval.io/evaluation={name}", "--grace-period=0", "--force")
        assert release.finish(name, seconds=60)["phase"] == "Cancelled"
        deployment.wait_until(lambda: holder(release) == "", seconds=20, what="free slot")
