"""The journal of a run in the store: whole lines of the runner alone, in few objects, whatever the run directory holds
and however often the store is away.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import journal_files
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_files import (
    JournalRun,
    list_segments,
    make_chunk,
    make_header,
    make_lines,
    read_journal,
)
from reporter_process import wait_for

from lmms_eval_core.journal import MAX_LINE_BYTES, JournalKind, JournalName
from lmms_eval_core.store.errors import Unreachable
from lmms_eval_reporter.journal_segments import SEGMENT_BYTES

OWN = JournalName(1, 0)


@pytest.fixture
def run(tmp_path: Path) -> JournalRun:
    return JournalRun(tmp_path)


async def test_the_newest_segment_is_written_again_until_it_is_full(
    run: JournalRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmms_eval_reporter.journal_upload.SEGMENT_BYTES", 10 * len(make_chunk(10)) + 9)
    assert await run.upload() == [] and run.uploader.kept is None
    found: list[str] = []
    for number in range(30):
        run.append(make_chunk(10 + number))
        found = await run.upload()
        assert len(found) == number // 10 + 1 and run.uploader.kept == number + 1
    assert found == sorted(found) and found[0] == "a000001-r0.jsonl-0000.zst"
    assert await read_journal(run.store, OWN) == b"".join(map(make_chunk, range(10, 40)))
    assert len(run.store.puts) == 30
    await run.upload()
    assert len(run.store.puts) == 30


async def test_ten_thousand_answers_are_one_object(run: JournalRun) -> None:
    run.append(make_lines(1, 10_000))
    assert await run.upload() == ["a000001-r0.jsonl-0000.zst"]
    assert await read_journal(run.store, OWN) == make_lines(1, 10_000)


async def test_much_at_once_becomes_segments_of_their_size(run: JournalRun) -> None:
    content = b"".join(make_chunk(number, 100, text="x" * 100) for number in range(0, 70_000, 100))
    assert len(content) > 2 * SEGMENT_BYTES
    run.append(content)
    assert len(await run.upload()) == len(content) // SEGMENT_BYTES + 1
    assert await read_journal(run.store, OWN) == content and run.uploader.kept == 70_000


@settings(max_examples=15)
@given(st.lists(st.integers(1, 400), max_size=12), st.integers(200, 1500), st.sets(st.integers(0, 40)))
async def test_whatever_is_written_when_and_whenever_the_store_is_away_it_arrives(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], limit: int, away: set[int]
) -> None:
    run = JournalRun(tmp_path_factory.mktemp("any"))
    content = make_lines(1, 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lmms_eval_reporter.journal_upload.SEGMENT_BYTES", limit)
        for turn, size in enumerate([*sizes, len(content)]):
            piece, content = content[:size], content[size:]
            run.append(piece)
            run.store.is_away = turn in away
            try:
                await run.uploader.upload()
            except Unreachable:
                continue
            written = (run.journal / str(OWN)).read_bytes()
            assert await read_journal(run.store, OWN) == written[: written.rfind(b"\n") + 1]
        run.store.is_away = False
        await run.uploader.finish()
    assert await read_journal(run.store, OWN) == make_lines(1, 12) and run.uploader.kept == 12


async def test_a_store_that_is_away_is_said_once_and_catches_up(run: JournalRun) -> None:
    stop = asyncio.Event()
    run.store.is_away = True
    task = asyncio.create_task(run.uploader.run(0.01, stop=stop))
    run.append(make_chunk(0))

    async def said() -> bool:
        return bool(run.log.errors("journal not stored"))

    async def arrived() -> bool:
        return run.uploader.kept == 1

    await wait_for(said)
    await asyncio.sleep(0.2)
    assert run.log.errors("journal not stored") == ["the store does not answer"] and run.uploader.kept == 0
    run.store.is_away = False
    await wait_for(arrived)
    stop.set()
    await task


async def test_sigterm_sends_at_once_what_is_new(run: JournalRun) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(run.uploader.run(3600, stop=stop))
    run.append(make_chunk(0))
    await asyncio.sleep(0.05)
    assert run.store.puts == []
    stop.set()
    await asyncio.wait_for(task, 30)
    assert await read_journal(run.store, OWN) == make_chunk(0)


async def test_nothing_is_sent_after_the_end(run: JournalRun) -> None:
    run.append(make_chunk(0))
    await run.uploader.end_and_settle()
    assert await run.upload() == []
    await asyncio.wait_for(run.uploader.run(0, stop=asyncio.Event()), 10)


async def test_a_torn_line_waits_for_its_end(run: JournalRun) -> None:
    whole = make_chunk(1)
    run.append(make_chunk(0) + whole[:30])
    await run.upload()
    assert await read_journal(run.store, OWN) == make_chunk(0)
    run.append(whole[30:])
    await run.upload()
    assert await read_journal(run.store, OWN) == make_chunk(0) + whole


async def test_a_line_that_is_not_the_runners_ends_the_file_for_good(run: JournalRun) -> None:
    run.append(make_chunk(0) + b'{"b":"forged"}\n' + make_chunk(1))
    for _ in range(3):
        await run.upload()
    run.append(make_chunk(2))
    await run.upload()
    assert await read_journal(run.store, OWN) == make_chunk(0)
    assert run.problems == ["a line is not the runner's"]


async def test_lines_are_written_anew(run: JournalRun) -> None:
    spaced = make_chunk(0)[:-2] + b',  "unknown": "\\u00e9"}\n'
    run.append(spaced)
    await run.upload()
    assert await read_journal(run.store, OWN) == make_chunk(0)


async def test_without_samples_neither_prompts_nor_targets_are_stored(tmp_path: Path) -> None:
    run = JournalRun(tmp_path, shown=False)
    run.append(make_header() + make_chunk(0, 2, p="the question", g="the solution"))
    await run.upload()
    assert await read_journal(run.store, OWN) == make_header() + make_chunk(0, 2)


async def test_each_rank_and_kind_has_its_own_objects(run: JournalRun) -> None:
    tap = JournalName(1, 63, JournalKind.COMPLETIONS)
    completion = b'{"k":"ab.0","r":{"id":"x"}}\n'
    run.append(completion, tap)
    run.append(make_chunk(0), JournalName(1, 7))
    assert await run.upload() == ["a000001-r7.jsonl-0000.zst", "tap-a000001-r63.jsonl-0000.zst"]
    assert await read_journal(run.store, tap) == completion and run.uploader.kept == 1


@pytest.mark.parametrize(
    "name",
    ["a000002-r0.jsonl", "a000001-r64.jsonl", "a000001-r00.jsonl", "a1-r0.jsonl", "x.jsonl", "a000001-r0.jsonl~"],
)
async def test_other_files_are_not_touched(run: JournalRun, name: str) -> None:
    (run.journal / name).write_bytes(make_chunk(0))
    assert await run.upload() == [] and run.problems == []


async def test_hostile_files_give_nothing_away_and_hold_nothing_up(run: JournalRun, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(make_chunk(0, text="the reporter's token"))
    (run.journal / str(JournalName(1, 1))).symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", run.journal / str(JournalName(1, 2)))
    os.mkfifo(run.journal / str(JournalName(1, 3)))
    (run.journal / str(JournalName(1, 4))).mkdir()
    with (run.journal / str(JournalName(1, 5))).open("wb") as sparse:
        sparse.truncate(2**40)
    with (run.journal / str(JournalName(1, 6))).open("wb") as long:
        long.write(b'{"b":"' + b"x" * MAX_LINE_BYTES + b'"}\n')
    run.append(make_chunk(0))
    async with asyncio.timeout(20):
        assert await run.upload() == ["a000001-r0.jsonl-0000.zst"]
    assert len(run.problems) == 6
    await run.upload()
    assert len(run.problems) == 6 and run.uploader.kept == 1


async def test_a_folder_that_is_a_link_is_not_followed(run: JournalRun, tmp_path: Path) -> None:
    run.append(make_chunk(0))
    run.journal.rename(tmp_path / "elsewhere")
    run.journal.symlink_to(tmp_path / "elsewhere")
    assert await run.upload() == []


async def test_a_file_that_shrinks_or_grows_meanwhile_is_no_trouble(run: JournalRun) -> None:
    run.append(make_lines(1, 5))
    await run.upload()
    (run.journal / str(OWN)).write_bytes(make_chunk(9))
    await run.upload()
    assert await read_journal(run.store, OWN) == make_lines(1, 5) and run.problems == []


async def test_there_is_room_for_so_much_and_no_more(tmp_path: Path) -> None:
    run = JournalRun(tmp_path, room=3 * len(make_chunk(0)) + 10)
    for number in range(3):
        run.append(make_chunk(number))
        run.append(make_chunk(number), JournalName(1, 1))
    await run.upload()
    assert run.uploader.kept == 3
    assert set(run.problems) == {"the journal is as large as it may become"}


async def test_a_late_upload_of_an_old_attempt_touches_its_own_files_alone(tmp_path: Path) -> None:
    old, new = JournalRun(tmp_path, attempt=1), JournalRun(tmp_path, attempt=2)
    new.append(make_lines(2, 3), JournalName(2, 0))
    await new.uploader.upload()
    # Its pod shares nothing with the new one, but what it writes could have any name.
    old.append(make_lines(1, 9))
    old.append(b"", JournalName(2, 0))
    old.append(make_lines(2, 9), JournalName(2, 0))
    await old.uploader.upload()
    assert await read_journal(new.store, JournalName(2, 0)) == make_lines(2, 3)
    assert await read_journal(new.store, OWN) == make_lines(1, 9)
    assert {key.split("/")[2] for key in old.store.puts} == {"a1"}


async def test_no_more_files_are_looked_for_than_the_run_has_processes(tmp_path: Path) -> None:
    run = JournalRun(tmp_path, ranks=2)
    for rank in range(3):
        run.append(make_chunk(rank), JournalName(1, rank))
    assert await run.upload() == ["a000001-r0.jsonl-0000.zst", "a000001-r1.jsonl-0000.zst"]


async def test_many_processes_share_the_memory(run: JournalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    line = make_chunk(0, text="x" * 900)
    monkeypatch.setattr("lmms_eval_reporter.journal_upload.OPEN_BYTES", 64 * 4 * len(line))
    for rank in range(64):
        run.append(20 * line, JournalName(1, rank))
    await run.uploader.upload()
    # Each was read to its end, in segments of four lines as soon as all were known.
    assert run.uploader.kept == 64 * 20
    sizes = [len(await read_journal(run.store, JournalName(1, rank))) for rank in range(64)]
    assert sizes == [20 * len(line)] * 64
    assert len([name for name in await list_segments(run.store) if "-r63." in name]) == 5


MEASURE = """
import asyncio, re, sys
from pathlib import Path
from journal_files import JournalRun, make_chunk
run = JournalRun(Path(sys.argv[1]))
def measure_peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
async def main():
    run.append(make_chunk(0))
    await run.uploader.upload()
    before = measure_peak()
    for first in range(0, 200_000, 20_000):
        run.append(b"".join(make_chunk(first + number, 20, text="x" * 240) for number in range(0, 20_000, 20)))
        await run.uploader.upload()
    assert run.uploader.kept == 200_001
    print(before, measure_peak())
asyncio.run(main())
"""


def test_memory_does_not_grow_with_the_answers(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.path.dirname(journal_files.__file__)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    # A segment, raw and compressed, what is appended here, and a line as objects.
    assert after - before < 60 and after < 256
