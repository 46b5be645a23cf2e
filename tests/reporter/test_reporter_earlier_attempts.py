"""What earlier attempts left in the store, in the run directory of the next one."""

import asyncio
import errno
import os
import stat
from pathlib import Path

import pytest
from journal_files import (
    FolderStore,
    RecordedLog,
    ignore_failure,
    list_segments,
    make_chunk,
    make_header,
    make_lines,
    make_prefix,
    store_journal,
)

from lmms_eval_core.journal import MAX_EARLIER_ATTEMPTS, MAX_JOURNAL_BYTES, MAX_LINE_BYTES, JournalKind, JournalName
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import Outcome, Timings
from lmms_eval_core.store.compression import zstd
from lmms_eval_reporter import earlier_attempts
from lmms_eval_reporter.earlier_attempts import EarlierAttempts, add_timings
from lmms_eval_reporter.journal_segments import Room
from lmms_eval_reporter.retry import Backoff
from lmms_eval_reporter.run_directory import RunDirectory

FIRST = JournalName(1, 0)


class NextAttempt:
    """The run directory of an attempt before its evaluator starts."""

    def __init__(self, path: Path, attempt: int) -> None:
        self.path = path / "run"
        self.path.mkdir()
        self.store = FolderStore(path / "store")
        self.log = RecordedLog()
        backoff = Backoff(self.log, ignore_failure, first_seconds=0.01)
        self.earlier = EarlierAttempts(self.store, make_prefix(attempt), backoff=backoff, log=self.log)

    async def fetch(self, room: int = MAX_JOURNAL_BYTES) -> dict[str, bytes]:
        """Fetch, and return what lies in `earlier/`."""
        await self.earlier.fetch_journals(RunDirectory(self.path), Room(room))
        folder = self.path / "earlier"
        return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))} if folder.exists() else {}

    async def put(self, attempt: int, name: str, content: bytes) -> None:
        await self.store.put(make_prefix(attempt).file(name), content)

    @property
    def problems(self) -> list[str]:
        return self.log.errors("earlier answers end here")


@pytest.fixture
def second(tmp_path: Path) -> NextAttempt:
    return NextAttempt(tmp_path, 2)


async def test_segments_are_joined_under_the_files_name(second: NextAttempt) -> None:
    tap = JournalName(1, 3, JournalKind.COMPLETIONS)
    await store_journal(second.store, FIRST, *(make_chunk(number) for number in range(12)))
    await store_journal(second.store, tap, b'{"k":"ab.0","r":{}}\n')
    await store_journal(second.store, JournalName(2, 0), make_lines(2, 1))
    assert await second.fetch() == {
        str(FIRST): b"".join(map(make_chunk, range(12))),
        str(tap): b'{"k":"ab.0","r":{}}\n',
    }
    assert second.problems == []


async def test_every_user_may_read_them_and_nothing_waits(second: NextAttempt) -> None:
    previous = os.umask(0o077)
    try:
        await store_journal(second.store, FIRST, make_lines(1, 3))
        await second.fetch()
    finally:
        os.umask(previous)
    assert stat.S_IMODE((second.path / "earlier").stat().st_mode) == 0o755
    assert stat.S_IMODE((second.path / "earlier" / str(FIRST)).stat().st_mode) == 0o644


async def test_of_many_attempts_the_newest_count(tmp_path: Path) -> None:
    late = NextAttempt(tmp_path, MAX_EARLIER_ATTEMPTS + 4)
    names = [JournalName(attempt, 0) for attempt in range(1, MAX_EARLIER_ATTEMPTS + 4)]
    for name in names:
        await store_journal(late.store, name, make_lines(name.attempt, 1))
    found = await late.fetch()
    assert list(found) == [str(name) for name in names[-MAX_EARLIER_ATTEMPTS:]]
    assert all(content == make_lines(int(name[1:7]), 1) for name, content in found.items())


async def test_without_earlier_answers_there_is_nothing(second: NextAttempt) -> None:
    await second.put(1, "log.txt.zst", b"x")
    assert await second.fetch() == {}


@pytest.mark.parametrize(
    ("broken", "kept", "problem"),
    [
        (b"no zstd", 0, "a segment is broken"),
        (zstd.compress(make_chunk(1) + make_chunk(2))[:-3], None, "a segment is broken"),
        (zstd.compress(make_chunk(1) + b"junk\n" + make_chunk(2)), 1, "a line is not ours"),
        (zstd.compress(make_chunk(1) + make_chunk(2)[:-1]), 1, "a line is not ours"),
        (zstd.compress(b"0" * 2**28), 0, "a line is not ours"),
        (os.urandom(earlier_attempts.MAX_SEGMENT_BYTES + 1), 0, None),
        (None, 0, None),
    ],
    ids=["no zstd", "cut frame", "bad line", "torn line", "bomb", "too large", "missing"],
)
async def test_what_is_broken_ends_its_file_and_nothing_else(
    second: NextAttempt, broken: bytes | None, kept: int | None, problem: str | None
) -> None:
    await store_journal(second.store, FIRST, make_header(), b"", make_chunk(7))
    key = f"journal/{FIRST}-0001.zst"
    if broken is None:
        await second.store.delete([make_prefix(1).file(key)])
    else:
        await second.put(1, key, broken)
    await store_journal(second.store, JournalName(1, 1), make_lines(1, 2))
    found = await second.fetch()
    assert found[str(JournalName(1, 1))] == make_lines(1, 2)
    whole = make_header() + b"".join(make_chunk(1 + number) for number in range(kept or 0))
    assert found[str(FIRST)] == whole if kept is not None else found[str(FIRST)].startswith(whole)
    assert [told[: len(problem or "")] for told in second.problems] == ([problem] if problem else [])


@pytest.mark.parametrize(
    "name",
    [
        "a000002-r0.jsonl-0000.zst",
        "a000001-r00.jsonl-0000.zst",
        "a000001-r0.jsonl-0001.zst",
        "a000001-r0.jsonl-0000",
        "..-0000.zst",
        "x/a000001-r0.jsonl-0000.zst",
    ],
)
async def test_objects_of_other_names_are_left_alone(second: NextAttempt, name: str) -> None:
    await second.put(1, f"journal/{name}", zstd.compress(make_chunk(0)))
    assert {content for content in (await second.fetch()).values()} <= {b""}
    assert sorted(os.listdir(second.path.parent)) == ["run", "store"]


async def test_there_is_room_for_so_much(second: NextAttempt) -> None:
    line = make_chunk(0)
    await store_journal(second.store, FIRST, line * 2, line * 2)
    assert await second.fetch(3 * len(line) + 1) == {str(FIRST): line * 3}
    assert second.problems == ["the journals are larger than they may be"]


@pytest.mark.parametrize("at", ["", ".zst"], ids=["whole", "from the first segment on"])
async def test_a_store_that_is_away_is_waited_for(second: NextAttempt, at: str) -> None:
    await store_journal(second.store, FIRST, make_lines(1, 3))
    second.store.is_away, second.store.away_at = True, at
    fetching = asyncio.create_task(second.fetch())
    await asyncio.sleep(0.1)
    assert not fetching.done()
    second.store.is_away = False
    assert await asyncio.wait_for(fetching, 20) == {str(FIRST): make_lines(1, 3)}


@pytest.mark.parametrize("what", ["link", "file"])
async def test_what_stands_in_the_way_costs_the_answers_alone(second: NextAttempt, tmp_path: Path, what: str) -> None:
    await store_journal(second.store, FIRST, make_lines(1, 3))
    (tmp_path / "elsewhere").mkdir()
    if what == "link":
        (second.path / "earlier").symlink_to(tmp_path / "elsewhere")
    else:
        (second.path / "earlier").write_text("")
    await second.earlier.fetch_journals(RunDirectory(second.path), Room(MAX_JOURNAL_BYTES))
    assert os.listdir(tmp_path / "elsewhere") == [] and len(second.log.errors("earlier answers left out")) == 1


async def test_a_full_volume_costs_the_answers_alone(second: NextAttempt, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    await store_journal(second.store, FIRST, make_lines(1, 3))
    monkeypatch.setattr(earlier_attempts, "copy_lines", fail)
    await second.earlier.fetch_journals(RunDirectory(second.path), Room(MAX_JOURNAL_BYTES))
    assert second.log.errors("earlier answers left out") == ["No space left on device"]
    assert second.earlier.problem == "answers of attempt 1 cannot be written: No space left on device"


async def test_a_file_that_is_there_is_replaced_and_not_written_through(second: NextAttempt, tmp_path: Path) -> None:
    await store_journal(second.store, FIRST, make_lines(1, 3))
    (tmp_path / "precious").write_text("mine")
    (second.path / "earlier").mkdir()
    (second.path / "earlier" / str(FIRST)).symlink_to(tmp_path / "precious")
    assert await second.fetch() == {str(FIRST): make_lines(1, 3)}
    assert (tmp_path / "precious").read_text() == "mine"


async def test_a_long_line_comes_back(second: NextAttempt) -> None:
    line = make_chunk(0, text="x" * (MAX_LINE_BYTES - 200))
    await store_journal(second.store, FIRST, line)
    assert await second.fetch() == {str(FIRST): line}


async def test_journals_of_all_attempts_are_deleted_and_nothing_else(second: NextAttempt) -> None:
    for attempt in (1, 2, 3):
        await store_journal(second.store, JournalName(attempt, 0), make_lines(attempt, 1))
        await second.put(attempt, "log.txt.zst", b"x")
    await second.earlier.delete_journals()
    assert [await list_segments(second.store, attempt) for attempt in (1, 2)] == [[], []]
    assert len(await list_segments(second.store, 3)) == 1
    assert await second.store.get(make_prefix(1).file("log.txt.zst"), max_bytes=1) == b"x"


async def test_the_seconds_of_earlier_attempts_are_added_up(tmp_path: Path) -> None:
    fourth = NextAttempt(tmp_path, 4)
    for attempt, seconds in ((1, 10.0), (3, 2.5), (4, 99.0)):
        timings = Timings(total_seconds=seconds, load_seconds=None if attempt == 1 else 0.5)
        outcome = Outcome(reason=Reason.INTERRUPTED, exit_code=75, timings=timings)
        await fourth.put(attempt, "outcome.json", outcome.to_json().encode())
    await fourth.put(2, "outcome.json", b"no JSON")
    assert await fourth.earlier.sum_timings() == Timings(total_seconds=12.5, load_seconds=0.5)


def test_what_is_absurd_or_unknown_is_not_added() -> None:
    odd = Timings(total_seconds=float("nan"), load_seconds=-1, generation_seconds=float("inf"))
    known = Timings(total_seconds=1, load_seconds=2)
    assert add_timings(odd, known) == add_timings(known, odd) == known
    assert add_timings(odd, odd) == Timings()
