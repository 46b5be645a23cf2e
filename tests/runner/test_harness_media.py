"""Media of runs of the real lmms-eval: they belong to their documents, and nothing else of the run is different."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forked_runs import ForkedRun, ForkedRuns
from runner_process import build_run_input
from tiny_tasks import DOCUMENTS, write_tiny_tasks

from lmms_eval_core.journal import JournalKind, JournalName, MediaLine
from lmms_eval_core.media import DocumentMedia, MediaPolicy
from lmms_eval_core.run import RUN_FILE
from lmms_eval_runner.arguments import format_model_args
from lmms_eval_runner.journal.files import read_lines

pytestmark = [pytest.mark.harness, pytest.mark.timeout(600)]

SMOKE = Path(os.environ.get("LMMS_EVAL_TEST_SMOKE", "/opt/lmms-eval/smoke"))
# A forked run ends without what Python does at its end.
AT_THE_END = """
import atexit, os
end = os._exit
os._exit = lambda code: (atexit._run_exitfuncs(), end(code))
"""


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkedRuns]:
    with ForkedRuns() as forks:
        yield forks


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_tasks(tmp_path_factory.mktemp("tasks"))


class Evaluation:
    """One evaluation of two tasks, in batches of two, and its attempts."""

    def __init__(self, forks: ForkedRuns, folder: Path, tasks: Path) -> None:
        self._forks, self._folder, self._tasks = forks, folder, tasks
        self.number = 0

    @property
    def directory(self) -> Path:
        return self._folder / f"attempt-{self.number}"

    def attempt(self, *, kill_at: int = 0, media: MediaPolicy = MediaPolicy.DISPLAY) -> int:
        earlier = sorted(self._folder.glob("attempt-*/journal/a0*"))
        self.number += 1
        (self.directory / "journal").mkdir(parents=True)
        (self.directory / "earlier").mkdir()
        for path in earlier:
            (self.directory / "earlier" / path.name).write_bytes(path.read_bytes())
        model = "qwen2_5_vl"
        model_args = {"pretrained": str(SMOKE / "models" / model), "device": "cpu", "device_map": "cpu"}
        harness = {"model": model, "modelArgs": model_args, "tasks": ["x"]}
        content = build_run_input(attempt=self.number, harness=harness, media={"policy": media})
        (self.directory / RUN_FILE).write_text(json.dumps(content))
        environment = {"HF_HOME": str(self._tasks.parent / "hf"), "LMMS_EVAL_RUN_DIRECTORY": str(self.directory)}
        arguments = [
            f"--model_args={format_model_args(model_args)}",
            f"--model={model}",
            "--batch_size=2",
            "--tasks=tiny_greedy,tiny_sampled",
            f"--include_path={self._tasks}",
            "--log_samples",
            f"--output_path={self.directory}/output",
        ]
        killed = {"TINY_KILL_AT": str(kill_at)} if kill_at else {}
        run = ForkedRun(self.directory, arguments, environment | killed, setup=AT_THE_END)
        (end,) = self._forks.run(run)
        return end

    def read_media(self) -> dict[tuple[str, Any], DocumentMedia]:
        name = JournalName(self.number, 0, JournalKind.MEDIA)
        lines = read_lines(self.directory / "journal" / str(name))
        return {(line.media.task, line.media.document): line.media for line in lines if isinstance(line, MediaLine)}

    def read_samples(self) -> list[list[Any]]:
        files = sorted((self.directory / "output").rglob("*_samples_*.jsonl"), key=lambda path: path.name[16:])
        return [[json.loads(line) for line in path.read_text().splitlines()] for path in files]

    def read_colour(self, digest: str | None) -> tuple[int, ...]:
        from PIL import Image

        with Image.open(self.directory / "media" / str(digest)) as image:
            found: tuple[int, ...] = image.convert("RGB").getpixel((5, 5))
            return found

    @property
    def log(self) -> str:
        return (self.directory / "log-0.txt").read_text()


@pytest.fixture
def evaluation(forks: ForkedRuns, tmp_path: Path, tasks: Path) -> Evaluation:
    return Evaluation(forks, tmp_path, tasks)


def check_pictures(evaluation: Evaluation, media: dict[tuple[str, Any], DocumentMedia]) -> None:
    """The greedy task draws a size and a colour of the number of the document."""
    for (task, number), document in media.items():
        (item,) = document.items
        assert item.omitted is None and item.height == 56
        if task == "tiny_greedy":
            assert item.width == 56 + 28 * (number % 3)
            red = evaluation.read_colour(item.display)[0]
            assert abs(red - number * 20) <= 4, (number, red)


ALL = {(task, number) for task in ("tiny_greedy", "tiny_sampled") for number in range(DOCUMENTS)}


def test_every_document_has_its_own_picture_and_the_answers_are_the_same(
    evaluation: Evaluation, forks: ForkedRuns, tmp_path: Path, tasks: Path
) -> None:
    assert evaluation.attempt() == 0, evaluation.log
    media = evaluation.read_media()
    assert media.keys() == ALL
    check_pictures(evaluation, media)
    files = {path.name for path in (evaluation.directory / "media").iterdir()}
    assert files == {digest for document in media.values() for item in document.items for digest in item.digests}
    without = Evaluation(forks, tmp_path / "without", tasks)
    assert without.attempt(media=MediaPolicy.NONE) == 0
    assert not (without.directory / "media").exists() and without.read_media() == {}
    assert without.read_samples() == evaluation.read_samples()


def test_an_attempt_that_goes_on_keeps_what_it_asks_for_alone(evaluation: Evaluation) -> None:
    assert evaluation.attempt(kill_at=8) != 0
    assert evaluation.attempt() == 0, evaluation.log
    media = evaluation.read_media()
    assert "goes on after" in evaluation.log and 0 < len(media) < len(ALL)
    check_pictures(evaluation, media)


def test_thumbs_alone(evaluation: Evaluation) -> None:
    assert evaluation.attempt(media=MediaPolicy.THUMBS) == 0, evaluation.log
    media = evaluation.read_media()
    assert media.keys() == ALL
    assert all(item.thumb and not item.display for document in media.values() for item in document.items)
