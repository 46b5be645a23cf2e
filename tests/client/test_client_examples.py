"""What docs and examples show is run: their Python against a front end, their commands as far as that goes without one,
and their objects by the API server.
"""

import asyncio
import contextlib
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_fixtures import CommandLine
from deployment import ROOT, Kubectl
from front_end_fixtures import TOKEN, FrontEnd
from job_states import complete_job
from provided import build_bare_environment

from lmms_eval_client.cli import files
from lmms_eval_client.cli.exits import ExitCode
from lmms_eval_client.cli.main import COMMANDS
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.wire import EvaluateRequest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

GUIDE = (ROOT / "docs" / "client.md").read_text()
README = (ROOT / "README.md").read_text()
EXAMPLES = ROOT / "examples"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
async def everything_completes(client: Transport) -> AsyncIterator[None]:
    """Ends every evaluation with scores, soon after it was created."""

    async def operate() -> None:
        done: set[str] = set()
        while True:
            names = {item["metadata"]["name"] for item in (await client.list(EVALUATIONS)).items}
            for name in names - done:
                await complete_job(client, name)
            done |= names
            await asyncio.sleep(0.1)

    task = asyncio.create_task(operate())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def run_python(front_end: FrontEnd, *arguments: str, **environment: str) -> str:
    """What a program prints in front of the front end; it must end well."""
    variables = {**build_bare_environment(), "LMMS_EVAL_URL": front_end.url, "LMMS_EVAL_TOKEN": TOKEN, **environment}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, said = await asyncio.wait_for(process.communicate(), timeout=60)
    assert process.returncode == 0, said.decode()
    return out.decode()


async def run_shell(script: str, *, folder: Path | None = None, **environment: str) -> str:
    """What a shell prints for lines of a page or of a workflow; each must end well."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "-e", "-O", "expand_aliases", "-c", script]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": path, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await asyncio.wait_for(process.communicate(), timeout=60)
    assert process.returncode == 0, said.decode()
    return out.decode()


@pytest.mark.parametrize("block", BLOCKS)
async def test_the_guides_programs_run(front_end: FrontEnd, everything_completes: None, block: str) -> None:
    assert "0.5" in await run_python(front_end, "-c", block)


async def test_the_readmes_program_runs_with_lmms_evals_own_client(
    front_end: FrontEnd, everything_completes: None, upstream_folder: Path
) -> None:
    (block,) = [
        block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "lmms_eval.entrypoints" in block
    ]
    program = block.replace("http://ci:TOKEN@lmms-eval.example.com", front_end.url_with_token)
    assert "0.5" in await run_python(front_end, "-c", program, PYTHONPATH=str(upstream_folder))


async def test_the_submission_by_curl_is_accepted(front_end: FrontEnd, client: Transport) -> None:
    page = (ROOT / "docs" / "http.md").read_text()
    lines = re.findall(r"^    (alias ask=.*|ask \$URL/evaluate --json .*(?:\n {8}.*)*)", page, re.MULTILINE)
    done = await run_shell("\n".join(lines), URL=front_end.url, TOKEN=TOKEN)
    spec = (await client.get(EVALUATIONS, json.loads(done)["job_id"]))["spec"]
    assert (spec["model"], spec["priority"], spec["env"][0]["secretKeyRef"]["key"]) == ("qwen2_5_vl", 10, "token")


async def test_the_training_loop_submits_each_checkpoint_once(
    front_end: FrontEnd, everything_completes: None, client: Transport
) -> None:
    program = str(EXAMPLES / "training_loop.py")
    first = await run_python(front_end, program, STEPS="4", EVERY="2")
    assert re.findall(r"^step (\d+): evaluation", first, re.MULTILINE) == ["2", "4"]
    again = await run_python(front_end, program, STEPS="4", EVERY="2")
    assert "4 completed mme 0.5" in again
    assert len((await client.list(EVALUATIONS)).items) == 2


async def test_a_training_goes_on_without_a_front_end(front_end: FrontEnd) -> None:
    front_end.stop()
    program = (
        "import training_loop as loop; client = loop.Client(retries=loop_retries); loop.submit(client, 1); "
        "print('trained')"
    )
    program = program.replace("loop_retries", "__import__('lmms_eval_client').Retries(attempts=1)")
    said = await run_python(front_end, "-c", program, PYTHONPATH=str(EXAMPLES))
    assert said.startswith("step 1: not evaluated: No answer from ") and said.endswith("trained\n")


def commands(text: str) -> list[list[str]]:
    """Calls of lmmeval in a shell script or in indented lines of a page, without what the shell does for them."""
    joined = text.replace("\\\n", " ")
    found = re.findall(r"^\s*(?:\$ |run: )?(lmmeval [a-z].*)$", joined, re.MULTILINE)
    lines = [re.sub(r"\$\{\{[^}]*\}\}", "x", line) for line in found]
    return [[word for word in shlex.split(re.split(r" (?:\|\||>>?|#|\|) ?", line)[0])][1:] for line in lines]


WORKFLOW = (EXAMPLES / "github-actions.yml").read_text()


@pytest.mark.parametrize("arguments", [*commands(WORKFLOW), *commands(GUIDE), *commands(README)], ids=" ".join)
def test_commands_that_are_shown_are_understood(without_server: CommandLine, arguments: list[str]) -> None:
    done = without_server(*arguments, "--url", "http://127.0.0.1:1")
    assert done.returncode == ExitCode.UNREACHABLE, done.stderr


def step(name: str) -> str:
    """What a step of the workflow runs, with 7 for all that GitHub fills in."""
    steps = yaml.safe_load(WORKFLOW)["jobs"]["evaluate"]["steps"]
    (script,) = [step["run"] for step in steps if step.get("name") == name]
    return re.sub(r"\$\{\{[^}]*\}\}", "7", script)


def runner(front_end: FrontEnd, folder: Path) -> dict[str, Any]:
    """The environment of a step."""
    summary = str(folder / "summary.md")
    return {"LMMS_EVAL_URL": front_end.url, "LMMS_EVAL_TOKEN": TOKEN, "JOB": "pr-7-1-1", "GITHUB_STEP_SUMMARY": summary}


async def test_the_workflows_evaluation_ends_with_its_scores_in_the_summary(
    front_end: FrontEnd, everything_completes: None, client: Transport, tmp_path: Path
) -> None:
    environment = runner(front_end, tmp_path)
    await run_shell(step("Evaluate"), **environment)
    assert "mme 0.5" in (tmp_path / "summary.md").read_text()
    assert (await client.get(EVALUATIONS, "pr-7-1-1"))["metadata"]["labels"]["pull-request"] == "7"
    await run_shell(step("Log and results"), folder=tmp_path, **environment)
    assert (tmp_path / "results.json").exists()


async def test_the_workflow_stops_what_it_began(front_end: FrontEnd, client: Transport, tmp_path: Path) -> None:
    environment = runner(front_end, tmp_path)
    await run_shell(step("Evaluate").replace("--wait --wait-timeout 10000", ""), **environment)
    await run_shell(step("Stop it when the workflow is cancelled"), **environment)
    assert (await client.get(EVALUATIONS, "pr-7-1-1"))["spec"]["cancel"] is True


def test_the_guide_knows_every_command_and_exit_code() -> None:
    assert [command.__name__ for command in COMMANDS if f"`{command.__name__}" not in GUIDE] == []
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", GUIDE, re.MULTILINE)] == [code.value for code in ExitCode]


def test_the_gitops_folder_is_accepted(kubectl: Kubectl, namespace: str) -> None:
    folder = EXAMPLES / "gitops"
    objects = [item for item in yaml.safe_load_all(kubectl("kustomize", str(folder)))]
    assert {item["metadata"]["namespace"] for item in objects} == {"lmms-eval"}
    for item in objects:
        item["metadata"]["namespace"] = namespace
    said = kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(objects))
    assert said.count("created (server dry run)") == len(objects) == len(list(folder.glob("*.yaml"))) - 1
    assert not any("ttlSecondsAfterFinished" in item["spec"] for item in objects)


@pytest.mark.parametrize(
    "file", sorted(path for path in EXAMPLES.rglob("*.yaml") if path.name != "kustomization.yaml"), ids=str
)
def test_every_example_can_be_submitted_by_the_command_line(file: Path) -> None:
    found = files.read_file(file, {})
    assert found.warnings == []
    for fields in found.requests:
        assert not EvaluateRequest.model_validate(fields).model_extra
