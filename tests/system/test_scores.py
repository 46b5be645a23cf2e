"""apply -> Completed, with the scores of the bare command."""

import json
import time
from typing import Any

import deployment
import pytest
from release_fixtures import MODEL_ARGS, SMOKE, TASK, Release, build_smoke_evaluation

pytestmark = pytest.mark.system

BARE = """
import json, pathlib, subprocess, sys
command = [sys.executable, "-m", "lmms_eval", *sys.argv[1:], "--output_path", "/tmp/out"]
subprocess.run(command, check=True, stdout=sys.stderr)
(results,) = pathlib.Path("/tmp/out").rglob("*_results.json")
print("RESULTS " + json.dumps(json.loads(results.read_text())["results"]))
"""
ADAPTERS: dict[str, dict[str, Any]] = {
    "llava_hf": MODEL_ARGS,
    "qwen2_5_vl": {
        "pretrained": f"{SMOKE}/models/qwen2_5_vl",
        "device": "cpu",
        "device_map": "cpu",
        "min_pixels": 784,
        "max_pixels": 12544,
    },
}


def bare_results(release: Release, model: str) -> dict[str, Any]:
    """`results` of unmodified `python -m lmms_eval` in a pod of the same image, without anything of ours around it."""
    name = f"bare-{model.replace('_', '-')}"
    model_args = ",".join(f"{key}={value}" for key, value in ADAPTERS[model].items())
    arguments = ["--model", model, "--model_args", model_args, "--tasks", TASK, "--include_path", f"{SMOKE}/tasks"]
    arguments += ["--batch_size", "1", "--log_samples"]
    images = release.values["images"]["evaluator"]
    image = f"{images['repository']}:{images['tag']}"
    pod = deployment.bare_pod(name, image=image, command=["python", "-c", BARE, *arguments])
    release.deployment("create", "-f", "-", stdin=json.dumps(pod))
    deadline = time.monotonic() + 300
    while release.deployment("get", "pod", name, "-o", "jsonpath={.status.phase}") not in ("Succeeded", "Failed"):
        assert time.monotonic() < deadline
        time.sleep(1)
    log = release.deployment("logs", name)
    release.deployment("delete", "pod", name, "--wait=false")
    (line,) = [line for line in log.splitlines() if line.startswith("RESULTS ")]
    results: dict[str, Any] = json.loads(line.removeprefix("RESULTS "))
    return results


@pytest.mark.parametrize("model", ADAPTERS)
def test_scores_are_those_of_the_bare_command_to_the_last_digit(release: Release, model: str) -> None:
    name = release.apply(
        build_smoke_evaluation(f"scores-{model.replace('_', '-')}", model=model, modelArgs=ADAPTERS[model], limit=None)
    )
    status = release.finish(name)
    assert (status["phase"], status["reason"]) == ("Completed", "Succeeded"), status
    bare = bare_results(release, model)[TASK]
    values = {key: value for key, value in bare.items() if "," in key and "_stderr" not in key}
    assert values and {key: score["value"] for key, score in status["scores"][TASK].items()} == values
    for key, score in status["scores"][TASK].items():
        metric, filter_name = key.split(",")
        assert score["stderr"] == bare[f"{metric}_stderr,{filter_name}"]


def test_a_completed_evaluation_tells_its_story(release: Release) -> None:
    status = release.finish(release.apply(build_smoke_evaluation("story")))
    assert {condition["type"]: condition["status"] for condition in status["conditions"]}["Complete"] == "True"
    assert status["attempt"] == status["reportedAttempt"] == 1
    assert status["attempts"][0]["exitCode"] == 0 and status["attempts"][0]["node"]
    assert status["summary"].startswith(TASK)
    assert status["usage"]["samples"] == 4 and {"lmms_eval", "torch", "transformers"} <= {
        key.replace("-", "_") for key in status["usage"]["versions"]
    }
    assert {"results.json", "outcome.json", "log.txt.zst", f"samples/{TASK}.jsonl.zst"} <= {
        file["name"] for file in status["artifacts"]["files"]
    }
    row = release.deployment("get", "lmmevaluation", "story")
    assert "Completed" in row and status["summary"] in row
    assert all(len(line) <= 120 for line in row.splitlines()), row
    release.deployment("wait", "--for=condition=Complete", "lmmevaluation/story", "--timeout=30s")
