"""Indexes of samples are stored once the results are, and nothing that goes wrong with one matters to anything else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from journal_files import FolderStore, RecordedLog, ignore_failure, make_prefix

from lmms_eval_core import layout
from lmms_eval_core.json_text import LineNormaliser
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import Outcome
from lmms_eval_core.sample_index import writer
from lmms_eval_core.sample_index.format import IndexHeader, decode_header
from lmms_eval_core.sample_scoring import SampledTask, SampleFlag
from lmms_eval_core.store.compression import zstd
from lmms_eval_core.store.errors import ObjectMissing, Unreachable
from lmms_eval_reporter import content
from lmms_eval_reporter.index_upload import IndexUploader, iterate_index
from lmms_eval_reporter.retry import Backoff, time_limit
from lmms_eval_reporter.run_directory import RunDirectory
from lmms_eval_reporter.settings import UploadLimits
from lmms_eval_reporter.upload import Uploader

DATE = "20261123_070000"
RESULTS: dict[str, Any] = {"results": {"mme": {"acc,none": 0.5}, "more": {"acc,none": 1}}}
NEVER = asyncio.Event()


class Run:
    """A run directory whose samples are uploaded and indexed."""

    def __init__(self, path: Path) -> None:
        self.output = path / "run" / "output" / "m"
        self.output.mkdir(parents=True)
        self.store, self.log = FolderStore(path / "store"), RecordedLog()
        self.directory = RunDirectory(path / "run")
        backoff = Backoff(self.log, ignore_failure, first_seconds=0.01)
        self.uploader = Uploader(self.store, make_prefix(), limits=UploadLimits(), backoff=backoff, log=self.log)

    def write(self, task: str, lines: list[str]) -> None:
        self.path(task).write_text("".join(line + "\n" for line in lines))

    def path(self, task: str) -> Path:
        return self.output / f"{DATE}_samples_{task}.jsonl"

    async def upload(self, *tasks: str) -> None:
        names = {task: f"output/m/{DATE}_samples_{task}.jsonl" for task in tasks}
        outcome = Outcome(reason=Reason.SUCCEEDED, exit_code=0, results=f"output/m/{DATE}_results.json", samples=names)
        await self.uploader.send(self.directory, outcome, "")

    async def index(self, limit: AbstractAsyncContextManager[None] | None = None) -> None:
        chosen = limit or time_limit(60, stop=NEVER, grace=0)
        uploader = IndexUploader(self.store, make_prefix(), log=self.log)
        await uploader.send(self.directory, self.uploader.samples, RESULTS, limit=chosen)

    async def read(self, task: str) -> tuple[bytes, IndexHeader]:
        key = make_prefix().file(layout.index_file(layout.sample_file(task)))
        index = await self.store.get(key, max_bytes=2**30)
        return index, decode_header(index, len(index))

    @property
    def events(self) -> list[str]:
        return [event["event"] for event in self.log.events if event["event"].startswith("index")]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def make_lines(count: int, text: str = "x") -> list[str]:
    return [json.dumps({"doc_id": number, "acc": number % 2, "filtered_resps": text}) for number in range(count)]


async def test_each_samples_file_has_an_index(run: Run) -> None:
    run.write("mme", make_lines(10))
    run.write("more", make_lines(3))
    await run.upload("mme", "more")
    await run.index()
    _, header = await run.read("mme")
    assert (header.rows, header.count(SampleFlag.WRONG), [metric.name for metric in header.metrics]) == (10, 5, ["acc"])
    assert (await run.read("more"))[1].rows == 3
    assert run.events == []
    # The status lists samples, and not what is made of them.
    assert not any(file.name.startswith("index/") for file in run.uploader.artifacts.files)


async def test_a_sample_is_found_by_its_frame_and_place(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "FRAME_BYTES", 300)
    lines = [*make_lines(20), "", "no JSON", *make_lines(20, text="y" * 90)]
    pieces = ["".join(line + "\n" for line in lines[at : at + 3]).encode() for at in range(0, len(lines), 3)]
    count = content.Count()
    stored = b"".join(content.compressed(content.checked(pieces, count), count.frames))
    assert len(count.frames) > 5
    found = []
    add = writer.SampleIndexWriter.add

    def record(self: writer.SampleIndexWriter, line: bytes, frame: int, offset: int) -> None:
        found.append((line, frame, offset))
        add(self, line, frame, offset)

    monkeypatch.setattr(writer.SampleIndexWriter, "add", record)
    # The pieces are others when the file is read again.
    whole = b"".join(pieces)
    halves = [whole[:1000], whole[1000:]]
    normaliser = LineNormaliser()
    list(iterate_index([normaliser.feed(half) for half in halves], count, SampledTask()))
    assert [line.decode() for line, _, _ in found] == [line for line in lines if line]
    for line, frame, offset in found:
        decoder = zstd.ZstdDecompressor()
        assert decoder.decompress(stored[frame:])[offset : offset + len(line)] == line


async def test_a_last_line_without_its_end(run: Run) -> None:
    run.path("mme").write_text("\n".join(make_lines(5)))
    await run.upload("mme")
    await run.index()
    assert (await run.read("mme"))[1].rows == 5


async def test_a_file_that_changed_meanwhile_is_not_indexed(run: Run) -> None:
    run.write("mme", make_lines(10))
    run.write("more", make_lines(10))
    await run.upload("mme", "more")
    run.write("mme", make_lines(10, text="z"))
    await run.index()
    assert (await run.read("mme"))[1].omitted == "their file was changed while it was published"
    assert (await run.read("more"))[1].rows == 10
    assert run.events == ["index left out", "indexes left out"]
    assert run.log.events[-1]["files"] == 1


async def test_too_many_samples_are_not_indexed_and_the_index_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_ROWS", 4)
    run.write("mme", make_lines(5))
    await run.upload("mme")
    await run.index()
    assert (await run.read("mme"))[1].omitted == "there are more than 4 of them"


async def test_without_the_store_nothing_is_raised(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write("mme", make_lines(5))
    await run.upload("mme")
    run.store.is_away = True
    await run.index()
    monkeypatch.setattr(writer, "MAX_ROWS", 4)

    async def put(key: str, content: bytes | AsyncIterator[bytes]) -> None:
        if isinstance(content, bytes):
            raise Unreachable("away")
        async for _ in content:
            pass

    run.store.is_away = False
    monkeypatch.setattr(run.store, "put", put)
    await run.index()
    assert run.events == ["index left out", "indexes left out", "index left out", "index left out", "indexes left out"]
    with pytest.raises(ObjectMissing):
        await run.read("mme")


async def test_a_file_that_is_gone_or_a_mistake_of_ours_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write("mme", make_lines(5))
    await run.upload("mme")
    run.path("mme").unlink()
    await run.index()
    run.write("mme", make_lines(5))
    monkeypatch.setattr(writer.SampleIndexWriter, "add", lambda *given: 1 / 0)
    await run.index()
    errors = [event["error"] for event in run.log.events if event["event"] == "index left out"]
    assert errors[0].startswith("UnsafeFile") and errors[1].startswith("ZeroDivisionError")


async def test_what_takes_too_long_is_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write("mme", make_lines(5))
    run.write("more", make_lines(5))
    await run.upload("mme", "more")
    stop = asyncio.Event()
    put, stuck = run.store.put, asyncio.Event()

    async def get_stuck(key: str, content: bytes | AsyncIterator[bytes]) -> None:
        if "more" in key:
            stop.set()
            await stuck.wait()
        await put(key, content)

    monkeypatch.setattr(run.store, "put", get_stuck)
    await run.index(time_limit(600, stop=stop, grace=0))
    assert (await run.read("mme"))[1].rows == 5
    assert run.log.events[-1] == run.log.events[-1] | {"event": "indexes left out", "files": 1}
