"""The guard over stand-ins of the libraries that it waits for; the real ones are in test_harness_remote_code."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from deployment import ROOT

from lmms_eval_core.phases import Reason
from lmms_eval_runner.environment import build_harness_environment
from lmms_eval_runner.outcome import Evidence, explain_failure
from lmms_eval_runner.progress import has_argument
from lmms_eval_runner.remote_code import ENV_TRUSTED

LIBRARIES = {
    "transformers/__init__.py": "",
    "transformers/dynamic_module_utils.py": """
def get_cached_module_file(repository, module_file, **more):
    if module_file == "custom_generate/generate.py" and repository != "own/generate": raise OSError("it has none")
    return "cached"
def load_custom_generate(repository):
    get_cached_module_file(repository, module_file="custom_generate/generate.py")
    return get_class_in_module("generate", "own.generate")
def get_class_in_module(class_name, module_path, **more): return "class"
def get_class_from_dynamic_module(reference, repository):
    return get_cached_module_file(repository, "own.py", token=None)
""",
    "transformers/auto.py": """
from transformers.dynamic_module_utils import get_class_from_dynamic_module, get_class_in_module
""",
    "transformers/integrations/__init__.py": "",
    "transformers/integrations/hub_kernels.py": "def load_and_register_kernel(attn_implementation): return 'loaded'",
    "kernels/__init__.py": "from kernels.utils import get_kernel",
    "kernels/utils.py": "def get_kernel(repo_id, revision=None): return 'kernel'",
    "vllm/__init__.py": "",
    "vllm/engine/__init__.py": "",
    "vllm/engine/arg_utils.py": """
from dataclasses import dataclass
@dataclass
class EngineArgs:
    model: str = ""
    trust_remote_code: bool = False
    seen: object = None
    def __post_init__(self): self.seen = self.trust_remote_code
@dataclass
class AsyncEngineArgs(EngineArgs): pass
""",
    "sglang/__init__.py": "",
    "sglang/srt/__init__.py": "",
    "sglang/srt/server_args.py": """
from dataclasses import dataclass
@dataclass
class ServerArgs:
    trust_remote_code: bool = False
    def __post_init__(self): pass
""",
    "lmms_eval/__init__.py": "",
    "lmms_eval/models/__init__.py": "",
    "lmms_eval/models/own.py": """
from transformers.auto import get_class_from_dynamic_module
def load(): return get_class_from_dynamic_module("own.Own", "/data/checkpoint")
""",
}
BEGIN = "import lmms_eval_runner.remote_code; lmms_eval_runner.remote_code.guard()"
PERMIT = "spec.trustRemoteCode: true permits that, where the administrator has set policies.trustRemoteCode=true"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libraries")
    for name, source in LIBRARIES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    return folder


def python(libraries: Path, script: str, *, trusted: str = "0", interpreter: str = sys.executable) -> str:
    """What a process of its own says, which ends with the exception where there is one."""
    given = os.environ | {"PYTHONPATH": str(libraries), ENV_TRUSTED: trusted}
    done = subprocess.run([interpreter, "-c", script], env=given, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


REFUSED = [
    (
        "import lmms_eval.models.own as own; own.load()",
        "lmms_eval.models.own wanted to run own.py of /data/checkpoint",
    ),
    (
        "from transformers.auto import get_class_in_module as get; get('generate', 'a/generate.py')",
        "__main__ wanted to run generate of a/generate.py",
    ),
    (
        "from transformers.integrations import hub_kernels; hub_kernels.load_and_register_kernel('org/repo@main:f')",
        "__main__ wanted to run the kernel org/repo@main:f",
    ),
    ("import kernels; kernels.get_kernel(repo_id='org/repo')", "__main__ wanted to run the kernel org/repo"),
]


@pytest.mark.parametrize(("script", "said"), REFUSED)
def test_code_of_a_model_is_refused_wherever_it_is_loaded(libraries: Path, script: str, said: str) -> None:
    lines = python(libraries, f"{BEGIN}\n{script}").splitlines()
    assert lines[-1] == f"lmms_eval_runner.remote_code.RemoteCodeRefused: {said}"
    outcome = explain_failure(Evidence(exit_code=0, lines=lines))
    assert outcome.reason is Reason.BAD_ARGUMENTS
    assert outcome.message == f"{said}, which is code that comes with a model; {PERMIT}"


@pytest.mark.parametrize(("script", "said"), REFUSED)
def test_where_it_is_permitted_nothing_is_changed(libraries: Path, script: str, said: str) -> None:
    assert python(libraries, f"{BEGIN}\n{script}", trusted="1") == ""


def test_what_is_no_code_is_let_through(libraries: Path) -> None:
    script = "from transformers.integrations.hub_kernels import load_and_register_kernel as load; print(load('sdpa'))"
    assert python(libraries, f"{BEGIN}\n{script}") == "loaded"


def test_a_look_for_a_models_own_generate_is_no_code_until_there_is_one(libraries: Path) -> None:
    load = "from transformers.dynamic_module_utils import load_custom_generate as load"
    assert python(libraries, f"{BEGIN}\n{load}; load('org/model')").endswith("OSError: it has none")
    assert python(libraries, f"{BEGIN}\n{load}; load('own/generate')").endswith(
        "__main__ wanted to run generate of own.generate"
    )


@pytest.mark.parametrize(
    ("trusted", "expected"), [("0", "[False, False, False, False]"), ("1", "[True, True, True, True]")]
)
def test_engines_are_told_to_trust_nothing(libraries: Path, trusted: str, expected: str) -> None:
    script = """
from vllm.engine.arg_utils import AsyncEngineArgs, EngineArgs
from sglang.srt.server_args import ServerArgs
made = EngineArgs(model="m", trust_remote_code=True)
others = [AsyncEngineArgs("m", True).trust_remote_code, ServerArgs(True).trust_remote_code]
print([made.trust_remote_code, made.seen, *others])
"""
    assert python(libraries, f"{BEGIN}\n{script}", trusted=trusted) == expected


def test_the_images_pth_file_guards_every_python_of_an_environment(libraries: Path, tmp_path: Path) -> None:
    (line,) = [line for line in (ROOT / "evaluator-image" / "Dockerfile").read_text().splitlines() if "guard()" in line]
    venv.create(tmp_path / "venv", with_pip=False)
    (packages,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    (packages / "lmms_eval_runner.pth").write_text(str(ROOT / "evaluator-image" / "src"))
    (packages / "lmms_eval_runner_guard.pth").write_text(line.partition("'")[2].partition("'")[0])
    interpreter = str(tmp_path / "venv" / "bin" / "python")
    said = python(libraries, "import kernels; kernels.get_kernel('a/b')", interpreter=interpreter)
    assert said.endswith("RemoteCodeRefused: __main__ wanted to run the kernel a/b")


SITE = "/opt/venv/lib/python3.12/site-packages"


@pytest.mark.parametrize(
    ("frame", "is_the_models"),
    [("vllm/transformers_utils/config.py", True), ("datasets/load.py", False)],
)
def test_a_library_that_was_told_to_trust_nothing_is_understood(frame: str, is_the_models: bool) -> None:
    lines = [
        "Traceback (most recent call last):",
        f'  File "{SITE}/{frame}", line 1, in load_dataset',
        "ValueError: The repository org/model contains custom code which must be executed to correctly load the model.",
        "Please pass the argument `trust_remote_code=True` to allow custom code to be run.",
    ]
    outcome = explain_failure(Evidence(exit_code=0, lines=lines))
    assert outcome.reason is (Reason.BAD_ARGUMENTS if is_the_models else Reason.DATASET_UNAVAILABLE)
    assert (PERMIT in outcome.message) is is_the_models and "org/model" in outcome.message


@pytest.mark.parametrize(("trusted", "value"), [(True, "1"), (False, "0")])
def test_the_harness_is_told_whatever_its_container_was(trusted: bool, value: str) -> None:
    environment = build_harness_environment({ENV_TRUSTED: "1"}, run_directory=Path("/run"), trusted=trusted)
    assert environment[ENV_TRUSTED] == value


class Named:
    def __init__(self, pretrained: str, trust_remote_code: bool = False) -> None: ...


class HandingOn(Named):
    def __init__(self, extra: int = 0, **kwargs: object) -> None: ...


class Closed(Named):
    def __init__(self, pretrained: str) -> None: ...


class Open:
    """As adapters that refuse what they do not name."""

    def __init__(self, pretrained: str, **kwargs: object) -> None: ...


class Inheriting(Named):
    pass


@pytest.mark.parametrize(
    ("adapter", "expected"), [(Named, True), (HandingOn, True), (Inheriting, True), (Closed, False), (Open, False)]
)
def test_only_an_adapter_that_names_the_permission_is_handed_it(adapter: type, expected: bool) -> None:
    assert has_argument(adapter, "trust_remote_code") is expected
