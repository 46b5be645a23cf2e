"""The catalogue is what lmms-eval's own server would answer in this image, and knows more about each name.

In processes of their own: importing lmms-eval takes seconds and leaves much behind.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmms_eval_core.catalogue import CATALOGUE_FILE, MAX_CATALOGUE_BYTES, Catalogue, KnownTask, TaskKind

pytestmark = [pytest.mark.harness, pytest.mark.timeout(900)]

# Its functions for GET /tasks and GET /models. The module itself would need a web framework, which the image has no use
# for.
UPSTREAM = """
import ast, asyncio, importlib.util, json
from pathlib import Path

folder = Path(importlib.util.find_spec("lmms_eval").origin).parent
tree = ast.parse((folder / "entrypoints" / "http_server.py").read_text())
wanted = [node for node in tree.body if getattr(node, "name", "") in ("list_available_tasks", "list_available_models")]
for node in wanted:
    node.decorator_list = []
exec(compile(ast.Module(wanted, []), "http_server.py", "exec"))
print(json.dumps({**asyncio.run(list_available_tasks()), **asyncio.run(list_available_models())}))
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    directory = tmp_path_factory.mktemp("run")
    environment = os.environ | {"LMMS_EVAL_RUN_DIRECTORY": str(directory), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-m", "lmms_eval_runner.catalogue"], env=environment, check=True)
    (file,) = Path(directory).iterdir()
    assert file.name == CATALOGUE_FILE
    assert file.stat().st_size < MAX_CATALOGUE_BYTES / 10
    return Catalogue.model_validate_json(file.read_text())


@pytest.fixture(scope="module")
def tasks(catalogue: Catalogue) -> dict[str, KnownTask]:
    return {task.name: task for task in catalogue.tasks}


def test_its_names_are_those_of_lmms_evals_own_server_in_the_same_order(catalogue: Catalogue) -> None:
    done = subprocess.run([sys.executable, "-c", UPSTREAM], stdout=subprocess.PIPE, text=True, check=True)
    answered = json.loads(done.stdout.splitlines()[-1])
    assert [task.name for task in catalogue.tasks] == answered["tasks"]
    assert [model.name for model in catalogue.models] == answered["models"]
    assert len(answered["tasks"]) > 1900 and len(answered["models"]) > 100


def test_what_members_are_called_can_be_looked_up(tasks: dict[str, KnownTask]) -> None:
    groups = [task for task in tasks.values() if task.kind is not TaskKind.TASK]
    assert len(groups) > 250 and all(group.members for group in groups)
    known = [member in tasks for group in groups for member in group.members]
    # A few groups define tasks on the spot, under names that only they know.
    assert sum(known) / len(known) > 0.9


def test_tasks_say_what_they_are_made_of(tasks: dict[str, KnownTask]) -> None:
    assert tasks["mme"] == KnownTask(
        name="mme",
        kind=TaskKind.TASK,
        dataset="lmms-lab-encoder/MME",
        output_type="generate_until",
        metrics=["mme_cognition_score", "mme_perception_score"],
    )
    single = [task for task in tasks.values() if task.kind is TaskKind.TASK]
    assert sum(bool(task.dataset and task.output_type and task.metrics) for task in single) / len(single) > 0.9


def test_models_that_this_image_is_made_for_are_usable_and_others_say_why_not(catalogue: Catalogue) -> None:
    unavailable = {model.name: model.unavailable for model in catalogue.models if model.unavailable}
    assert not {"llava_hf", "qwen2_5_vl", "huggingface", "openai", "dummy"} & set(unavailable)
    assert unavailable["bagel_umm"] == "lmms-eval lists it, but has no module lmms_eval.models.simple.bagel_umm."
    assert unavailable["sglang"] == "This image lacks the package sglang."
    assert unavailable["vllm"] == "It asks for packages that this image lacks: vllm."
    assert all(reason.endswith(".") or "import fails" in reason for reason in unavailable.values())


def test_models_that_ask_for_the_code_of_their_checkpoint_are_told(catalogue: Catalogue) -> None:
    asking = {model.name for model in catalogue.models if model.needs_remote_code}
    assert {"minicpm_v", "internvl2", "qwen3_vl", "lfm2_5_vl", "cogvlm2", "phi3v"} <= asking
    assert not {"llava_hf", "qwen2_5_vl", "huggingface", "openai", "dummy", "vllm", "sglang"} & asking
    assert 27 <= len(asking) < 60


def test_aliases_and_versions_are_told(catalogue: Catalogue) -> None:
    aliases = {model.name: model.aliases for model in catalogue.models}
    assert aliases["openai"] == ["openai_compatible", "openai_compatible_chat"]
    assert {"lmms-eval", "torch", "transformers"} <= set(catalogue.versions)


def test_tasks_of_the_releases_own_folder_are_listed_too(tasks: dict[str, KnownTask]) -> None:
    imports = "import sys; from lmms_eval_runner.catalogue.tasks import list_known_tasks"
    script = f"{imports}; print(*[task.name for task in list_known_tasks(sys.argv[1])])"
    command = [sys.executable, "-c", script, "/opt/lmms-eval/smoke/tasks"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert set(done.stdout.splitlines()[-1].split()) - set(tasks) == {"smoke_vqa"}
