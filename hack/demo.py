"""`make demo`: a cluster, the chart, one evaluation by kubectl and one over HTTP, watched until their
scores are there.
"""

import base64
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deployment
import obstore
import yaml
import zstandard
from deployment import ROOT, CommandFailed, Deployment
from obstore.store import S3Store

NAMESPACE = "lmms-eval"
EXAMPLE = ROOT / "examples" / "smoke.yaml"
EVALUATION_SECONDS = 900


@contextmanager
def step(title: str) -> Iterator[None]:
    """Says what begins, and how long it took."""
    print(f"\n==> {title}", flush=True)
    started = time.monotonic()
    yield
    print(f"    {time.monotonic() - started:.0f} s", flush=True)


def apply_example(release: Deployment) -> str:
    """kubectl apply; the evaluation's name. One that ended badly is run again."""
    name: str = yaml.safe_load(EXAMPLE.read_text())["metadata"]["name"]
    found = release.kubectl.run("-n", NAMESPACE, "get", "lmmevaluation", name, "-o", "jsonpath={.status.phase}").stdout
    if found in ("Failed", "Cancelled"):
        release("delete", "lmmevaluation", name)
    print(release("apply", "-f", str(EXAMPLE)).strip())
    return name


def submit(url: str, token: str) -> str:
    """POST /evaluate with the model of the example; the job's id."""
    spec = yaml.safe_load(EXAMPLE.read_text())["spec"]
    body = {
        "model": spec["model"],
        "model_args": spec["modelArgs"],
        "tasks": spec["tasks"],
        "include_path": spec["includePath"],
        "limit": 8,
    }
    answer = call(url + "/evaluate", token, body)
    print(f"POST /evaluate -> {answer['job_id']}, position {answer['position_in_queue']}")
    return str(answer["job_id"])


def call(url: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to the front end."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def watch(release: Deployment, name: str) -> dict[str, Any]:
    """Shows state and progress until the evaluation ends; the object."""
    shown, deadline = "", time.monotonic() + EVALUATION_SECONDS
    while time.monotonic() < deadline:
        item: dict[str, Any] = release.json("get", "lmmevaluation", name)
        status = item["status"]
        line = f"{name[:36]:36} {status['phase']:10} {status['reason']:16} {status.get('progress', {}).get('text', '')}"
        if line != shown:
            shown = line
            print(f"    {line}", flush=True)
        if status["phase"] in ("Completed", "Failed", "Cancelled"):
            return item
        time.sleep(1)
    raise CommandFailed(f"{name} has not ended after {EVALUATION_SECONDS} s: {shown}")


def show_scores(item: dict[str, Any]) -> None:
    """Every metric of every task."""
    for task, metrics in item["status"].get("scores", {}).items():
        for metric, score in metrics.items():
            print(f"    {task:24} {metric:24} {score['value']} ± {score['stderr']}")


def one_sample(release: Deployment, item: dict[str, Any]) -> None:
    """The first sample, out of the object store."""
    secret = release.json("get", "secret", f"{release.release}-store")["data"]
    key, value = (base64.b64decode(secret[name]).decode() for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    artifacts = item["status"]["artifacts"]
    bucket, _, path = artifacts["uri"].removeprefix("s3://").partition("/")
    name = next(file["name"] for file in artifacts["files"] if file["name"].startswith("samples/"))
    with release.port_forward(f"{release.release}-s3", 7070) as endpoint:
        store = S3Store(
            bucket,
            endpoint=endpoint,
            access_key_id=key,
            secret_access_key=value,
            region="us-east-1",
            client_options={"allow_http": True},
        )
        content = bytes(obstore.get(store, f"{path.rstrip('/')}/{name}").bytes())
    sample = json.loads(zstandard.ZstdDecompressor().stream_reader(content).read().split(b"\n", 1)[0])
    for field in ("doc_id", "input", "target", "filtered_resps"):
        print(f"    {field:15} {sample.get(field)!r}")


def main() -> int:
    """0 when both evaluations completed."""
    started = time.monotonic()
    with step("Cluster and images (from nothing about 20 minutes on two cores: Kubernetes and torch; then seconds)"):
        references = deployment.prepare()
    release = Deployment(deployment.kubectl(), NAMESPACE)
    with step("helm install lmms-eval charts/lmms-eval (about 20 s)"):
        release.install(deployment.image_values(references))
    with step("kubectl apply -f examples/smoke.yaml (a run takes about 20 s, most of it Python imports)"):
        first = watch(release, apply_example(release))
    with step("The same model over HTTP"), release.port_forward(f"{release.release}-api", 80) as url:
        token = release.token()
        second = watch(release, submit(url, token))
    print("\n==> kubectl get lmmevaluations -n lmms-eval")
    print(release("get", "lmmevaluations"))
    print("==> Scores")
    show_scores(first)
    print("\n==> One sample, from the object store")
    one_sample(release, first)
    programs, lmmeval = Path(release.kubectl.binary).parent, Path(sys.executable).with_name("lmmeval")
    print(NEXT.format(kubeconfig=release.kubectl.kubeconfig, programs=programs, lmmeval=lmmeval, token=token))
    print(f"The demo took {time.monotonic() - started:.0f} s.")
    return 0 if {first["status"]["phase"], second["status"]["phase"]} == {"Completed"} else 1


NEXT = """
==> Go on from here
    export KUBECONFIG={kubeconfig} PATH={programs}:$PATH
    {lmmeval} ui -n lmms-eval        # the web page, signed in: these runs, and each of their answers
    kubectl -n lmms-eval get lmmevaluations -w
    kubectl -n lmms-eval port-forward service/lmms-eval-api 8000:80 &
    curl -H 'Authorization: Bearer {token}' http://127.0.0.1:8000/queue        # and /docs
    make down                                                                    # takes it all away
"""

if __name__ == "__main__":
    try:
        sys.exit(main())
    except CommandFailed as failure:
        sys.exit(f"make demo: {failure}")
