"""The entry point inside lmms-eval's own process: exact model arguments, bars, and silence outside a run.

Scripts in processes of their own, since the entry point changes the process it is loaded into, and few of them, since
importing lmms-eval takes seconds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runner_process import build_run_input

from lmms_eval_core.run import PROGRESS_FILE, RUN_FILE, ProgressReport, Stage
from lmms_eval_runner.arguments import format_model_args
from lmms_eval_runner.meter import MARKS_FILE, Marks

pytestmark = [pytest.mark.harness, pytest.mark.timeout(900)]

DIFFICULT: dict[str, Any] = {
    "commas": "a,b=c",
    "quotes": 'it\'s "so"',
    "braces": "{'a': [1, {'b': 2}]}",
    "unicode": "é日本\n",
    "looks_int": "007",
    "looks_float": "1e5",
    "looks_bool": "true",
    "negative": -1,
    "whole": 2,
    "real": 2.5,
    "flag": False,
    "nothing": "",
}

ECHO = """\
import json, sys
import lmms_eval.models
from lmms_eval.api.model import lmms

class Echo(lmms):
    def __init__(self, **given):
        super().__init__()
        self.given = given
    loglikelihood = generate_until = generate_until_multi_round = None
Echo.__abstractmethods__ = frozenset()

for text in sys.argv[1:]:
    print(json.dumps(Echo.create_from_arg_string(text, {"batch_size": 4, "device": None}).given))
"""

BARS = """
from tqdm import tqdm
from lmms_eval.models.model_utils.progress import make_progress
with tqdm(total=4, desc="Model Responding") as bar:
    bar.update(4)
slurm = make_progress(total=6, desc="Model Responding")
slurm.update(5)
slurm.close()
"""

PARSER = """
import random
from lmms_eval.utils import simple_parse_args_string
from lmms_eval_runner.arguments import format_model_args, is_parsed_exactly
choose, alphabet = random.Random(0), "ab01.,='\\"{}[] eE+-_\\\\\\nétrueTRUEnaif:/"
counted = 0
for _ in range(50_000):
    text = "".join(choose.choices(alphabet, k=choose.randint(0, 6)))
    number = choose.uniform(-9, 9) * 10 ** choose.randint(-30, 30)
    value = choose.choice([text, choose.randint(-9, 99), number, True, False])
    if is_parsed_exactly({"x": value, "y": value}):
        counted += 1
        back = simple_parse_args_string(format_model_args({"x": value, "y": value}))
        assert list(map(repr, back.values())) == [repr(value)] * 2, (value, back)
assert counted > 5_000, counted
"""


def in_a_process(script: str, *arguments: str, run_directory: Path) -> list[str]:
    environment = os.environ | {"LMMS_EVAL_RUN_DIRECTORY": str(run_directory)}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def run_directory(path: Path) -> Path:
    harness = {"model": "echo", "tasks": ["t"], "modelArgs": DIFFICULT}
    (path / RUN_FILE).write_text(json.dumps(build_run_input(harness=harness)))
    return path


def test_in_a_run_the_adapter_gets_the_very_values_and_bars_are_seen(tmp_path: Path) -> None:
    lines = in_a_process(ECHO + BARS, format_model_args(DIFFICULT), "x=1,y=true", run_directory=run_directory(tmp_path))
    exact, parsed = (json.loads(line) for line in lines[:2])
    assert json.dumps(exact) == json.dumps({**DIFFICULT, "batch_size": 4})
    assert parsed == {"x": 1, "y": True, "batch_size": 4}
    report = ProgressReport.model_validate_json((tmp_path / PROGRESS_FILE).read_text())
    assert (report.stage, report.completed, report.total) == (Stage.EVALUATING, 9, 10)
    assert Marks.model_validate_json((tmp_path / MARKS_FILE).read_text()).exact_model_args


def test_another_rank_gets_the_values_and_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    lines = in_a_process(ECHO + BARS, format_model_args(DIFFICULT), run_directory=run_directory(tmp_path))
    assert json.loads(lines[0])["negative"] == -1
    assert [path.name for path in tmp_path.iterdir()] == [RUN_FILE]


def test_without_a_run_lmms_eval_is_as_ever_and_its_parser_agrees_with_us(tmp_path: Path) -> None:
    lines = in_a_process(ECHO + BARS + PARSER, "negative=-1", run_directory=tmp_path)
    assert lines[0] == '{"negative": -1.0, "batch_size": 4}'
    assert not list(tmp_path.iterdir())
