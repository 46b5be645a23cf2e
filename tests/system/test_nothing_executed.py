"""Texts that a shell, a template or a parser would execute travel from POST /evaluate to the argv of a real run."""

import json
import secrets
import shlex
from typing import Any

import deployment
import httpx
import pytest
from abuse import list_injections
from release_fixtures import RUN_SECONDS, SMOKE, TASK, Release, build_slow_environment
from volume_fixtures import MOUNT, VOLUME, RunInVolume

pytestmark = pytest.mark.system

HEADERS = "\r\nX-Injected: yes\r\n\r\n"
# The folder's name holds no slash, so that its command says by a variable what to make.
FOLDER = "$(touch $CANARY); `touch $CANARY`"
COPY = f"""
import os, pathlib, shutil
folder = pathlib.Path("{MOUNT}", os.environ["FOLDER"])
shutil.copytree("{SMOKE}/tasks", folder)
definition = folder / "{TASK}.yaml"
definition.write_text(definition.read_text().replace("{TASK}.parquet", "{SMOKE}/tasks/{TASK}.parquet"))
"""
LIST = f"import json, os; print(json.dumps(sorted(os.listdir('{MOUNT}'))))"
LOOK = "import json, os, pathlib; pathlib.Path('/tmp/control').touch(); print(json.dumps(os.listdir('/tmp')))"


def request(canary: str) -> dict[str, Any]:
    """An evaluation whose every free text is harmful; `canary` is what it would make."""
    texts = list_injections(canary)
    lines = [text for text in texts if "\n" not in text]
    return {
        "model": "dummy",
        "model_args": {"response": " ".join(lines), **{f"a{number}": line for number, line in enumerate(lines)}},
        "tasks": [TASK],
        "include_path": f"{MOUNT}/{FOLDER}",
        "gen_kwargs": f"until={texts[0]}",
        "system_instruction": HEADERS.join(texts),
        "env": [
            *build_slow_environment(10),
            {"name": "CANARY", "value": canary},
            {"name": "HARMFUL", "value": HEADERS.join(texts)[:4096]},
        ],
        "volumes": [{**VOLUME, "read_only": False}],
        "limit": 2,
        "num_gpus": 0,
    }


def running(release: Release, job: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in release.list_pods(job) if pod["status"]["phase"] == "Running"]


def test_what_is_sent_reaches_the_model_and_is_not_executed(
    http: httpx.Client, release: Release, run_in_volume: RunInVolume
) -> None:
    run_in_volume(COPY, FOLDER=FOLDER)
    name = f"executed-{secrets.token_hex(4)}"
    body = request(f"{MOUNT}/{name} /tmp/{name}")
    sent = http.post("/evaluate", json=body)
    assert sent.status_code == 200 and "X-Injected" not in sent.headers, sent.text
    job = sent.json()["job_id"]
    pod = deployment.wait_until(lambda: running(release, job), seconds=RUN_SECONDS, what="a running pod")[0]
    # What a command would do, done: so its trace would be found.
    release.deployment("exec", pod, "-c", "evaluator", "--", "touch", f"{MOUNT}/control")
    status = release.finish(job)
    assert status["phase"] == "Completed", status

    answers = {sample["filtered_resps"] for sample in http.get(f"/jobs/{job}/samples/{TASK}").json()["samples"]}
    assert answers == {body["model_args"]["response"]}
    assert shlex.quote(f"--gen_kwargs={body['gen_kwargs']}") in http.get(f"/jobs/{job}/logs").text
    made = json.loads(run_in_volume(LIST))
    assert {"control", FOLDER} <= set(made) and name not in made
    for pod in release.deployment(
        "get", "pods", "-l", "app.kubernetes.io/component in (api,operator)", "-o", "name"
    ).split():
        listed = json.loads(release.deployment("exec", pod, "--", "python", "-c", LOOK))
        assert "control" in listed and name not in listed
