"""The shortcuts on the way into lmms-eval: that what is put off comes when it is used, and that each steps aside.

Over packages of a few lines, each in a process of its own. The real lmms-eval is in test_harness_warm_start.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

YAML = """
import io, json, sys, yaml
from lmms_eval_runner.warm_start import parse_yaml_in_c

plain = yaml.full_load

def outcome(load, text):
    stream = io.BytesIO(text.encode())
    stream.name = "/tasks/a.yaml"
    try:
        return load(stream)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def added(tag):
    yaml.add_constructor(tag, lambda loader, node: [tag, loader.name, loader.construct_scalar(node)])

texts = json.load(sys.stdin)
added("!before")
parse_yaml_in_c()
assert yaml.full_load is not plain
added("!after")
parsers = set()
yaml.add_constructor("!parser", lambda loader, node: parsers.add(isinstance(loader, yaml.CFullLoader)))
yaml.full_load(io.BytesIO(b"!parser x"))
assert parsers == {True}
print(json.dumps([[repr(outcome(load, text)) for load in (plain, yaml.full_load)] for text in texts]))
"""

# Name, what a group and a task look like in lmms-eval, and what YAML is known for.
DOCUMENTS = [
    "task: a\ngroup: [b, c]\ndoc_to_text: !before utils.text\nprocess: !after other.results\n",
    "metadata: {version: 1.0, at: 2026-11-26 10:00:00Z}\nflags: [yes, No, ~, 0o17, 017, 1_000, 1e3, 1.5e+3, .inf]",
    "base: &base {a: 1}\nmerged: {<<: *base, b: 2}\ntext: |\n  Zeile é 日本\n\n  end\nfolded: >-\n  a\n  b\n",
    "'quoted: key': \"tab\\t\\u00e9 \\\n  line\"\n? complex\n: value\n",
    "- 0x1F\n- 190:20:30\n- !!python/tuple [1, 2]\n- !!binary aGk=\n",
    "",
    "---\na: 1\n---\nb: 2\n",
    "a: !unknown 1",
    "a: [1, 2\nb: 3",
    "a: b: c",
    "\tx: 1",
    "a: *nowhere",
    "!!python/object/apply:os.getcwd []",
]


def test_yaml_reads_the_same_and_says_the_same_of_errors() -> None:
    done = in_a_process(YAML, stdin=json.dumps(DOCUMENTS))
    for plain, ours in json.loads(done.stdout):
        assert plain == ours
    errors = [plain for plain, _ in json.loads(done.stdout) if "Error: " in plain]
    assert len(errors) == 7, errors


HEAVY = 'print("heavy is executed")\nCONSTANT = 7\ndef double(number): return 2 * number\n'
LATE_IMPORT = """
import sys
{before}
from lmms_eval_runner import warm_start
warm_start.LATE.clear()
warm_start.LATE["importer"] = warm_start.LateImport("package.heavy", {functions})
warm_start.apply_shortcuts(warm_start.import_late)
import importer
print("importer is imported")
"""


def late_import(
    tmp_path: Path, importer: str, use: str = "", *, functions: tuple[str, ...] = (), before: str = ""
) -> str:
    """What is printed when `importer` is imported late and then used."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "heavy.py").write_text(HEAVY)
    (tmp_path / "package" / "other.py").write_text("from package.heavy import CONSTANT")
    (tmp_path / "importer.py").write_text(importer)
    done = in_a_process(
        LATE_IMPORT.format(functions=functions, before=before) + use, environment={"PYTHONPATH": str(tmp_path)}
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("before", "importer"),
    [("", "import package.heavy as heavy"), ("import package", "import package.heavy\nheavy = package.heavy")],
)
def test_a_module_is_executed_when_something_in_it_is_used(tmp_path: Path, before: str, importer: str) -> None:
    use = "print(importer.heavy.double(4), importer.heavy.CONSTANT, 'package.heavy' in sys.modules)"
    printed = late_import(tmp_path, importer, use, before=before)
    assert printed.splitlines() == ["importer is imported", "heavy is executed", "8 7 True"]


def test_a_module_that_nobody_uses_is_not_executed(tmp_path: Path) -> None:
    use = "print('package.heavy' in sys.modules, importer.__spec__.loader.get_source('importer'))"
    importer = "import package.heavy as heavy"
    assert late_import(tmp_path, importer, use).splitlines() == ["importer is imported", f"False {importer}"]


def test_a_function_is_imported_when_it_is_called(tmp_path: Path) -> None:
    use = "print(importer.double(4), importer.double.__name__)"
    printed = late_import(tmp_path, "from package.heavy import double", use, functions=("double",))
    assert printed.splitlines() == ["importer is imported", "heavy is executed", "8 double"]


def test_others_import_the_real_one(tmp_path: Path) -> None:
    use = (
        "import package.heavy; from package.heavy import double; print(double is package.heavy.double, "
        "importer.double is double)"
    )
    printed = late_import(tmp_path, "from package.heavy import double", use, functions=("double",))
    assert printed.splitlines() == ["importer is imported", "heavy is executed", "True False"]


@pytest.mark.parametrize(
    "importer",
    ["from package.heavy import double, CONSTANT", "import package.heavy as h\nh.double(1)", "import package.other"],
)
def test_what_is_needed_at_once_is_there_at_once(tmp_path: Path, importer: str) -> None:
    printed = late_import(tmp_path, importer, "print('package.heavy' in sys.modules)", functions=("double",))
    if importer.endswith("h.double(1)"):
        assert "heavy is executed" in printed
    else:
        assert printed.splitlines() == ["heavy is executed", "importer is imported", "True"]


def test_what_cannot_wait_is_done_again_as_ever(tmp_path: Path) -> None:
    importer = "import package.heavy as heavy\nimport types\nassert 'double' in vars(heavy), 'not yet'"
    printed = late_import(tmp_path, importer).splitlines()
    note = "lmms-eval-runner: importer needs package.heavy at once: AssertionError('not yet')"
    assert sorted(printed) == sorted([note, "heavy is executed", "importer is imported"])


def test_what_is_there_already_is_used(tmp_path: Path) -> None:
    use = "print(type(importer.heavy).__name__, importer.heavy is sys.modules.get('package.heavy'))"
    printed = late_import(tmp_path, "import package.heavy as heavy", use, before="import package.heavy")
    assert printed.splitlines() == ["heavy is executed", "importer is imported", "module True"]


# Of lmms-eval, what the shortcuts touch; it tells whether garbage is collected.
MAIN = """
import atexit, gc, multiprocessing, sys
import lmms_eval.models

def say(when):
    print(when, gc.isenabled(), gc.get_freeze_count() > 0, flush=True)

if __name__ == "__main__":
    atexit.register(say, "end")
    print(sys.argv[1:], __spec__.name, multiprocessing.get_start_method())
    say("importing")
    try:
        print(lmms_eval.models.get_model("dummy"))
    finally:
        say("adapter")
"""
MODELS = """
import gc
collected_while_importing = gc.isenabled()
def get_model(name): {body}
"""


def start(tmp_path: Path, *, models: str, environment: dict[str, str] | None = None) -> list[str]:
    package = tmp_path / "lmms_eval"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(MAIN)
    if models:
        (package / "models.py").write_text(models)
    command = [sys.executable, "-m", "lmms_eval_runner.warm_start", "--model=dummy"]
    given = os.environ | {"PYTHONPATH": str(tmp_path)} | (environment or {})
    done = subprocess.run(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.splitlines()


ADAPTER = MODELS.format(body='return f"adapter {name}"')
BEGINNING = "['--model=dummy'] lmms_eval.__main__ fork"


def test_garbage_is_collected_once_the_adapter_is_imported(tmp_path: Path) -> None:
    assert start(tmp_path, models=ADAPTER) == [
        BEGINNING,
        "importing False False",
        "adapter dummy",
        "adapter True True",
        "end True False",
    ]


def test_garbage_is_collected_when_the_adapter_cannot_be_imported(tmp_path: Path) -> None:
    printed = start(tmp_path, models=MODELS.format(body="raise ValueError(name)"))
    assert printed[:3] == [BEGINNING, "importing False False", "adapter True True"]
    assert printed[-2:] == ["ValueError: dummy", "end True False"]


def test_the_switch_leaves_everything_as_it_is(tmp_path: Path) -> None:
    printed = start(tmp_path, models=ADAPTER, environment={"LMMS_EVAL_WARM_START": "0"})
    assert printed == [BEGINNING, "importing True False", "adapter dummy", "adapter True False", "end True False"]


def test_another_lmms_eval_is_started_as_ever_and_the_log_says_why(tmp_path: Path) -> None:
    printed = start(tmp_path, models="collected = True")
    note = "lmms-eval-runner: no import_without_collecting_garbage: AttributeError("
    assert printed[0].startswith(note)
    assert printed[1:3] == [BEGINNING, "importing True False"]


def in_a_process(
    script: str, *, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    given = os.environ | (environment or {})
    done = subprocess.run(
        [sys.executable, "-c", script], input=stdin, env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done
