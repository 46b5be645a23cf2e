"""What our pod adds to a run: the evaluator container's life beside that of the bare command, in the same image, in
turns.
"""

import json
from datetime import datetime
from statistics import median
from typing import Any

from deployment import Deployment, bare_pod, wait_until

from bench.rows import Row

ROUNDS = 3
SMOKE = "/opt/lmms-eval/smoke"
MODEL_ARGS = {"pretrained": f"{SMOKE}/models/llava", "device": "cpu", "device_map": "cpu"}
Object = dict[str, Any]


def read_container_seconds(pod: Object, container: str) -> float:
    """From start to end of a container, as the kubelet reports them in whole seconds."""
    (status,) = [status for status in pod["status"]["containerStatuses"] if status["name"] == container]
    ended = status["state"]["terminated"]
    return (datetime.fromisoformat(ended["finishedAt"]) - datetime.fromisoformat(ended["startedAt"])).total_seconds()


def evaluation(name: str) -> Object:
    """The smoke evaluation over its whole task."""
    spec = {
        "model": "llava_hf",
        "modelArgs": MODEL_ARGS,
        "tasks": ["smoke_vqa"],
        "includePath": f"{SMOKE}/tasks",
        "batchSize": 1,
    }
    return {"apiVersion": "lmms-eval.io/v1alpha1", "kind": "LMMEvaluation", "metadata": {"name": name}, "spec": spec}


def build_bare_command() -> list[str]:
    """The same run without anything of ours."""
    arguments = ["--model", "llava_hf", "--model_args", ",".join(f"{key}={value}" for key, value in MODEL_ARGS.items())]
    arguments += ["--tasks", "smoke_vqa", "--include_path", f"{SMOKE}/tasks", "--batch_size", "1", "--log_samples"]
    return ["python", "-m", "lmms_eval", *arguments, "--output_path", "/tmp/out"]


def measure_container(release: Deployment, item: Object, selector: str) -> float:
    """Creates the object and measures the evaluator container of its pod."""
    release("create", "-f", "-", stdin=json.dumps(item))

    def ended() -> Object | None:
        for pod in release.json("get", "pods", "-l", selector)["items"]:
            if pod["status"]["phase"] in ("Succeeded", "Failed"):
                return dict(pod)
        return None

    pod: Object = wait_until(ended, seconds=300, what=f"the pod of {item['metadata']['name']}", every=0.1)
    return read_container_seconds(pod, "evaluator")


def measure(release: Deployment, image: str) -> list[Row]:
    """Median of alternating rounds."""
    bare, ours = [], []
    for number in range(ROUNDS):
        name = f"bench-bare-{number}"
        pod = bare_pod(name, image=image, command=build_bare_command())
        bare.append(measure_container(release, pod, f"bare={name}"))
        release("delete", "pod", name)
        name = f"bench-ours-{number}"
        ours.append(measure_container(release, evaluation(name), f"lmms-eval.io/evaluation={name}"))
    base = median(bare)
    return [
        Row("bare lmms-eval, container start to end, median", base, "s"),
        Row("evaluation, container start to end, median", median(ours), "s", base * 1.03 + 2, "bare × 1.03 + 2 s"),
    ]
