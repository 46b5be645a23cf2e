"""Runs of the real lmms-eval that die and go on, against runs that do neither, and have no plug-in."""

import json
import os
import random
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forked_runs import ForkedRun, ForkedRuns
from runner_process import build_run_input
from tiny_tasks import DOCUMENTS, write_tiny_tasks

from lmms_eval_core.journal import ChunkLine, HeaderLine
from lmms_eval_core.run import PROGRESS_FILE, RUN_FILE, ProgressReport
from lmms_eval_runner.arguments import format_model_args
from lmms_eval_runner.journal.files import list_journals, read_lines

pytestmark = [pytest.mark.harness, pytest.mark.timeout(900)]

SMOKE = Path(os.environ.get("LMMS_EVAL_TEST_SMOKE", "/opt/lmms-eval/smoke"))
KILLED = -9
# Every chunk is one batch, so that a death may come between any two.
ONE_BATCH = "from lmms_eval_runner.journal import chunk_size; chunk_size.TARGET_SECONDS = 0.0"


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkedRuns]:
    with ForkedRuns() as forks:
        yield forks


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_tasks(tmp_path_factory.mktemp("tasks"))


class Evaluation:
    """One evaluation and its attempts, each with the journals of those before."""

    def __init__(self, forks: ForkedRuns, folder: Path, tasks: Path, **settings: Any) -> None:
        self._forks, self._folder, self._tasks, self._settings = forks, folder, tasks, settings
        self.model = SMOKE / "models" / "qwen2_5_vl"
        self.number = 0

    @property
    def directory(self) -> Path:
        return self._folder / f"attempt-{self.number}"

    def run_plain(self) -> object:
        """Run it without the plug-in; return what it wrote."""
        directory = self._folder / "plain"
        directory.mkdir(parents=True)
        assert self._forks.run(
            ForkedRun(directory, self._list_arguments(directory), self._environment(), plugin=False)
        ) == [0]
        return read_output(directory)

    def attempt(self, *, kill_at: int = 0, **run: Any) -> int:
        """Run it once more; `kill_at` is the document at which the process kills itself."""
        self.prepare(**run)
        environment = {"TINY_KILL_AT": str(kill_at)} if kill_at else {}
        (end,) = self._forks.run(self.describe_run(environment, setup=ONE_BATCH))
        return end

    def prepare(self, **run: Any) -> None:
        """Make the run directory of another attempt, as runner and reporter do."""
        earlier = sorted(self._folder.glob("attempt-*/journal/*"))
        self.number += 1
        (self.directory / "journal").mkdir(parents=True)
        (self.directory / "earlier").mkdir()
        for path in earlier:
            shutil.copy(path, self.directory / "earlier")
        harness = {"model": "qwen2_5_vl", "modelArgs": self._model_args(), "tasks": ["x"], **self._settings}
        content = json.dumps(build_run_input(attempt=self.number, harness=harness, **run))
        (self.directory / RUN_FILE).write_text(content)

    def describe_run(self, environment: dict[str, str], *, setup: str) -> ForkedRun:
        """The attempt, or one of its ranks."""
        own = self._environment() | {"LMMS_EVAL_RUN_DIRECTORY": str(self.directory)}
        return ForkedRun(self.directory, self._list_arguments(self.directory), own | environment, setup=setup)

    def _model_args(self) -> dict[str, Any]:
        return {"pretrained": str(self.model), "device": "cpu", "device_map": "cpu"}

    def _environment(self) -> dict[str, str]:
        return {"HF_HOME": str(self._tasks.parent / "hf")}

    def _list_arguments(self, directory: Path) -> list[str]:
        settings = {"model": "qwen2_5_vl", "batch_size": 1, "tasks": "tiny_greedy,tiny_sampled"} | self._settings
        flags = [f"--{name}={value}" for name, value in settings.items()]
        return [
            f"--model_args={format_model_args(self._model_args())}",
            *flags,
            f"--include_path={self._tasks}",
            "--log_samples",
            f"--output_path={directory}/output",
        ]

    @property
    def log(self) -> str:
        return (self.directory / "log-0.txt").read_text()

    @property
    def report(self) -> ProgressReport:
        return ProgressReport.model_validate_json((self.directory / PROGRESS_FILE).read_text())

    def count_answers(self) -> int:
        """How many answers this attempt has added."""
        return sum(
            len(batch.answers)
            for _, path in list_journals(self.directory / "journal")
            for line in read_lines(path)
            if isinstance(line, ChunkLine)
            for batch in line.batches
        )


def read_output(directory: Path) -> object:
    """Results less dates, times, speeds and paths; and the files of samples, byte for byte."""
    (results,) = directory.glob("output/**/*_results.json")
    samples = {re.sub(r".*_samples_", "", path.name): path.read_bytes() for path in directory.glob("output/**/*.jsonl")}
    data = json.loads(re.sub(r"0x[0-9a-f]+", "0x", results.read_text()))
    for key in ("date", "start_time", "end_time", "total_evaluation_time_seconds"):
        data.pop(key, None)
    data["throughput"] = data.get("throughput", {}).get("total_gen_tokens")
    arguments = data["config"].get("resolved_cli_args", {})
    for key in ("output_path", "hf_hub_log_args"):
        arguments.pop(key, None)
    return data, samples


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_run_that_dies_anywhere_ends_as_one_that_does_not(
    forks: ForkedRuns, tmp_path: Path, tasks: Path, batch: int, repeats: int
) -> None:
    evaluation = Evaluation(forks, tmp_path, tasks, batch_size=batch, repeats=repeats)
    want = evaluation.run_plain()
    total, chance, answers = 2 * DOCUMENTS * repeats, random.Random(batch * 10 + repeats), 0
    for _ in range(3):
        left = total - answers
        assert evaluation.attempt(kill_at=chance.randint(1, left)) == KILLED, evaluation.log
        answers += evaluation.count_answers()
    assert evaluation.attempt() == 0, evaluation.log
    assert read_output(evaluation.directory) == want, evaluation.log
    assert answers + evaluation.count_answers() == total
    report = evaluation.report
    assert (report.completed, report.total, report.journaled) == (total, total, total - answers)
    assert report.resumed and report.resumed.answers == answers and report.resumed.exactness == "exact"
    assert f"goes on after {answers} answers of attempts up to" in evaluation.log
    assert report.journal_off == report.started_anew == ""


def test_a_run_that_was_never_disturbed_is_the_same_with_the_plug_in(
    forks: ForkedRuns, tmp_path: Path, tasks: Path
) -> None:
    evaluation = Evaluation(forks, tmp_path, tasks, batch_size=4)
    want = evaluation.run_plain()
    assert evaluation.attempt() == 0 and read_output(evaluation.directory) == want
    # And all of it at once from the journal.
    assert evaluation.attempt() == 0 and read_output(evaluation.directory) == want
    assert evaluation.count_answers() == 0
    (path,) = (path for _, path in list_journals(evaluation.directory / "journal"))
    (header,) = (line for line in read_lines(path) if isinstance(line, HeaderLine))
    assert {"run", "adapter", "packages", "hardware", "weights", "tasks"} == set(header.header.parts)


def test_each_part_of_the_fingerprint_is_told_by_name(forks: ForkedRuns, tmp_path: Path, tasks: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    own = write_tiny_tasks(tmp_path / "tasks" / "own")
    evaluation = Evaluation(forks, tmp_path / "runs", own, limit=1)
    evaluation.model = Path(shutil.copytree(evaluation.model, tmp_path / "model"))
    assert evaluation.attempt() == 0, evaluation.log
    for path in evaluation.model.iterdir():
        path.touch()
    assert evaluation.attempt() == 0 and evaluation.report.resumed and not evaluation.report.started_anew

    (weights,) = evaluation.model.glob("*.safetensors")
    tensors = load_file(weights)
    name = next(iter(tensors))
    tensors[name] = torch.full_like(tensors[name], 0.5)
    save_file(tensors, weights, metadata={"format": "pt"})
    assert evaluation.attempt() == 0 and evaluation.report.started_anew.startswith("weights differ from attempt")

    (own / "tiny.py").write_text((own / "tiny.py").read_text() + "\n# changed\n")
    assert evaluation.attempt() == 0 and evaluation.report.started_anew.startswith("tasks differ")
    rows = own / "tiny_greedy.jsonl"
    rows.write_text(rows.read_text().replace('"answer": "5"', '"answer": "6"'))
    assert evaluation.attempt() == 0 and evaluation.report.started_anew.startswith("tasks differ")
    assert evaluation.attempt(image="another") == 0 and evaluation.report.started_anew.startswith("run differs")


# A volume that is soon full, which `hack/test` mounts in the container of this tier.
SMALL_VOLUME = Path("/small-volume")


def test_a_full_volume_costs_what_is_answered_after_that(forks: ForkedRuns, tmp_path: Path, tasks: Path) -> None:
    evaluation = Evaluation(forks, tmp_path, tasks)
    want, total = evaluation.run_plain(), 2 * DOCUMENTS
    evaluation.prepare()
    assert SMALL_VOLUME.is_mount() and not any(SMALL_VOLUME.iterdir())
    (evaluation.directory / "journal").rmdir()
    (evaluation.directory / "journal").symlink_to(SMALL_VOLUME)
    assert forks.run(evaluation.describe_run({}, setup=ONE_BATCH)) == [0], evaluation.log
    assert read_output(evaluation.directory) == want
    assert "lmms-eval-runner: no journal from here on: No space left on device\n" in evaluation.log
    report = evaluation.report
    assert report.journal_off == "No space left on device" and 0 < report.journaled < total
    assert (report.completed, report.total) == (total, total)

    # What was kept before it was full is of use.
    assert evaluation.count_answers() == report.journaled
    (torn,) = SMALL_VOLUME.iterdir()
    assert not torn.read_bytes().endswith(b"\n")
    assert evaluation.attempt() == 0 and read_output(evaluation.directory) == want, evaluation.log
    assert evaluation.report.resumed and evaluation.report.resumed.answers == report.journaled
    assert evaluation.report.journaled == total - report.journaled and evaluation.report.journal_off == ""
    torn.unlink()


# An adapter that is cheap, has a device, and answers one request after the other.
RANK = """
import os, signal, torch
from lmms_eval.models.simple.dummy import Dummy
from lmms_eval_runner.journal import chunk_size

chunk_size.TARGET_SECONDS = 0.0
torch.distributed.init_process_group("gloo")
answered = []

def generate_until(self, requests):
    for request in requests:
        answered.append(f"{request.args[0]} {len(answered)} {torch.rand(1).item()}"[-30:])
        if str(len(answered)) == os.environ.get("TINY_KILL_AT"):
            os.kill(os.getpid(), signal.SIGKILL)
    return [f"{request.args[0]} {torch.rand(1).item()}" for request in requests]

Dummy.generate_until = generate_until
Dummy.device = torch.device("cpu")
"""


def test_two_ranks_go_on_where_each_of_them_was(forks: ForkedRuns, tmp_path: Path, tasks: Path) -> None:
    def run(evaluation: Evaluation, *kills: int) -> list[int]:
        evaluation.prepare(processes=2)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": "2"}
        ranks = [address | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
        for environment, kill in zip(ranks, kills, strict=False):
            environment["TINY_KILL_AT"] = str(kill)
        return forks.run(*(evaluation.describe_run(environment, setup=RANK) for environment in ranks))

    undisturbed = Evaluation(forks, tmp_path / "undisturbed", tasks, model="dummy")
    assert run(undisturbed) == [0, 0], undisturbed.log
    evaluation = Evaluation(forks, tmp_path / "disturbed", tasks, model="dummy")
    assert run(evaluation, 3, 5) == [KILLED, KILLED], evaluation.log
    assert sorted(path.name for path in (evaluation.directory / "journal").iterdir()) == [
        "a000001-r0.jsonl",
        "a000001-r1.jsonl",
    ]
    assert evaluation.count_answers() == 2 + 4
    assert run(evaluation) == [0, 0], evaluation.log
    assert evaluation.count_answers() == 2 * DOCUMENTS - 6
    assert read_output(evaluation.directory) == read_output(undisturbed.directory)
    assert (evaluation.report.completed, evaluation.report.total) == (2 * DOCUMENTS, 2 * DOCUMENTS)
