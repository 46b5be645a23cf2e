"""What goes from the pool of media, on a real store whose files are as old as a test wants."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_segments import build_header, name_segment, pack_segment
from stored_media import build_media_line, make_digest

from lmms_eval_api.artifacts.media_journals import MediaJournals
from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_api.retention.media_pool import LivingRun, MediaPool, PoolSize
from lmms_eval_api.retention.pool_survey import PoolFile, PoolSurvey
from lmms_eval_api.retention.sweeper import read_run
from lmms_eval_core import layout
from lmms_eval_core.journal import JournalKind
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.errors import Unreachable
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings

NOW = 1_800_000_000.0
GRACE = 7 * 86_400.0
DEADLINE = NOW - GRACE
HOUR = 3600.0
PREFIX = ArtifactPrefix("team", "a", "0a1b2c3d-uid", 2)
WORKER = Worker()


class Pool:
    """A pool in a directory, and what deletes from it."""

    def __init__(self, folder: Path, *, budget: int = 0) -> None:
        self.folder = folder
        self.store = ObjectStore(StoreSettings(url=f"file://{folder}"))
        journals = MediaJournals(self.store, WORKER, SampleReader(self.store, WORKER))
        self.pool = MediaPool(self.store, "team", journals.read_shown, budget=budget)

    async def put(self, content: str, *, age: float = 2 * GRACE) -> str:
        digest = make_digest(content.encode())
        key = layout.media_object("team", digest)
        await self.store.put(key, content.encode())
        os.utime(self.folder / key, (NOW - age, NOW - age))
        return digest

    async def show(self, digests: Iterable[str], prefix: ArtifactPrefix = PREFIX) -> None:
        content = b"".join(map(bytes.fromhex, sorted(digests)))
        await self.store.put(prefix.file(layout.MEDIA_DIGESTS), content)

    async def journal(self, *digests: str, prefix: ArtifactPrefix = PREFIX, number: int = 0) -> None:
        items: list[dict[str, object]] = [{"kind": "image", "thumb": digest} for digest in digests]
        lines = [build_header(prefix.attempt), build_media_line(number, *items)]
        await self.store.put(name_segment(prefix, number, kind=JournalKind.MEDIA), pack_segment(lines))

    async def sweep(self, *runs: LivingRun) -> None:
        await self.pool.delete(await self.pool.survey(DEADLINE), runs)

    async def list(self) -> set[str]:
        return {item.key.rpartition("/")[2] async for item in self.store.list("team/.media")}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


def make_run(*attempts: int, has_completed: bool = True, prefix: ArtifactPrefix = PREFIX) -> LivingRun:
    return LivingRun(prefix, frozenset(attempts), has_completed)


async def test_what_no_run_shows_goes_after_the_grace(pool: Pool) -> None:
    shown, gone, young = await pool.put("shown"), await pool.put("gone"), await pool.put("young", age=GRACE - 1)
    await pool.show([shown])
    await pool.sweep(make_run(2))
    assert await pool.list() == {shown, young}
    assert pool.pool.size == PoolSize(budget=0, files=2, bytes=10, is_known=True)
    await pool.sweep()
    assert (await pool.list(), gone) == ({young}, gone)


async def test_each_of_several_runs_keeps_its_own(pool: Pool) -> None:
    digests = [await pool.put(f"file {number}") for number in range(40)]
    runs = []
    for number in range(30):
        prefix = PREFIX._replace(name=f"job-{number}")
        await pool.show(digests[number : number + 2], prefix)
        runs.append(make_run(2, prefix=prefix))
    await pool.sweep(*runs)
    assert await pool.list() == {*digests[:31]}
    await pool.sweep(*runs[5:])
    assert await pool.list() == {*digests[5:31]}


@pytest.mark.parametrize("phase", ["Running", "Queued", "Failed", "Cancelled"])
async def test_a_run_without_samples_keeps_what_its_answers_show(pool: Pool, phase: str) -> None:
    first, second, gone = await pool.put("first"), await pool.put("second"), await pool.put("gone")
    await pool.journal(first, prefix=PREFIX._replace(attempt=1))
    await pool.journal(second, number=1)
    evaluation = {
        "metadata": {"namespace": "team", "name": PREFIX.name, "uid": PREFIX.uid},
        "status": {"phase": phase, "attempt": 2},
    }
    await pool.sweep(read_run(evaluation))
    assert (await pool.list(), gone in await pool.list()) == ({first, second}, False)


async def test_samples_speak_for_the_answers_before_them(pool: Pool) -> None:
    kept, dropped = await pool.put("kept"), await pool.put("dropped")
    await pool.journal(kept, dropped)
    await pool.show([kept])
    await pool.sweep(make_run(2, has_completed=False))
    assert await pool.list() == {kept}


async def test_a_run_that_completes_while_it_is_looked_at_keeps_its_own(pool: Pool, tmp_path: Path) -> None:
    """The journals go when the digests are there: who has missed both looks again."""
    shown = await pool.put("shown")

    class Completing(ObjectStore):
        async def _complete(self) -> None:
            await pool.show([shown])

        def list(self, prefix: str) -> Any:
            found = super().list(prefix)
            if prefix != PREFIX.evaluation:
                return found

            async def complete_first() -> Any:
                await self._complete()
                async for item in found:
                    yield item

            return complete_first()

    store = Completing(StoreSettings(url=f"file://{tmp_path}"))
    other = MediaPool(store, "team", no_journal)
    await other.delete(await other.survey(DEADLINE), [make_run(2, has_completed=False)])
    assert await pool.list() == {shown}


async def no_journal(segment: str) -> list[bytes]:
    raise AssertionError(segment)


async def test_what_was_put_there_anew_meanwhile_stays(pool: Pool) -> None:
    digest = await pool.put("old")
    survey = await pool.pool.survey(DEADLINE)
    await pool.put("old", age=0)
    later = await pool.put("later", age=2 * GRACE)
    await pool.pool.delete(survey, [])
    assert await pool.list() == {digest, later}


async def test_what_is_none_of_ours_is_not_touched(pool: Pool) -> None:
    digest = make_digest(b"x")
    keys = [
        f"team/.media/{digest}",
        f"team/.media/00/{digest}",
        f"team/.media/{digest[:2]}/{digest}.txt",
        f"team/.media/{digest[:2]}/{digest.upper()}",
        f"team/.media/{digest[:2]}/x",
        f"team/.media-too/{digest[:2]}/{digest}",
        f"team/.media/{digest[:2]}/{digest}/x",
        layout.media_object("another-team", digest),
    ]
    for key in keys:
        await pool.store.put(key, b"x")
        os.utime(pool.folder / key, (0, 0))
    await pool.sweep()
    assert [key for key in keys if not await pool.store.exists(key)] == []


@pytest.mark.parametrize("where", ["digests", "journals"])
async def test_nothing_goes_where_something_cannot_be_read(pool: Pool, tmp_path: Path, where: str) -> None:
    digest = await pool.put("gone")
    await pool.journal(digest)

    class Away(ObjectStore):
        def stream(self, key: str, *, start: int = 0) -> Any:
            if where == "digests":
                raise Unreachable(key)
            return super().stream(key, start=start)

    async def is_away(segment: str) -> list[bytes]:
        raise Unreachable(segment)

    other = MediaPool(Away(StoreSettings(url=f"file://{tmp_path}")), "team", is_away)
    with pytest.raises(Unreachable):
        await other.delete(await other.survey(DEADLINE), [make_run(2, has_completed=False)])
    assert await pool.list() == {digest}


async def test_digests_that_are_cut_or_odd_keep_what_they_name(pool: Pool) -> None:
    shown, gone = await pool.put("shown"), await pool.put("gone")
    content = b"\xff" * 32 + bytes.fromhex(shown) + bytes.fromhex(gone)[:31]
    await pool.store.put(PREFIX.file(layout.MEDIA_DIGESTS), content)
    await pool.sweep(make_run(2))
    assert await pool.list() == {shown}


async def test_beyond_the_budget_the_oldest_go(tmp_path: Path) -> None:
    pool = Pool(tmp_path, budget=500)
    digests = [await pool.put(f"{number:0100}", age=number * HOUR) for number in range(8)]
    await pool.show(digests)
    await pool.sweep(make_run(2))
    assert await pool.list() == {*digests[:5]}
    assert pool.pool.size == PoolSize(budget=500, files=5, bytes=500, evicted=3, is_known=True)
    await pool.put("one more", age=0)
    await pool.sweep(make_run(2))
    assert (len(await pool.list()), pool.pool.size.evicted) == (5, 4)
    await pool.sweep(make_run(2))
    assert pool.pool.size.evicted == 4


async def test_what_no_run_shows_goes_before_the_budget_takes_others(tmp_path: Path) -> None:
    pool = Pool(tmp_path, budget=200)
    gone = [await pool.put(f"{number:0100}") for number in range(3)]
    shown = [await pool.put(f"{number:0100}", age=3 * GRACE) for number in range(7, 9)]
    await pool.show(shown)
    await pool.sweep(make_run(2))
    assert (await pool.list(), pool.pool.size.evicted) == ({*shown}, 0)
    assert not {*gone} & await pool.list()


def list_files(count: int, age: Callable[[int], float]) -> list[PoolFile]:
    return [PoolFile(make_digest(str(number).encode()), 10, NOW - age(number)) for number in range(count)]


def survey_of(files: Iterable[PoolFile]) -> PoolSurvey:
    survey = PoolSurvey(DEADLINE)
    for file in files:
        survey.add(file)
    survey.seal()
    return survey


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2 * GRACE), st.integers(0, 9)), max_size=30), st.integers(0, 99))
def test_no_shown_file_is_an_orphan_and_the_budget_holds(parts: list[tuple[bool, float, int]], budget: int) -> None:
    files = [PoolFile(make_digest(str(place).encode()), part[2], NOW - part[1]) for place, part in enumerate(parts)]
    shown = {file.digest for file, part in zip(files, parts, strict=True) if part[0]}
    survey = survey_of(files)
    survey.mark(map(bytes.fromhex, shown))
    orphans = [file for file in files if survey.is_orphan(file)]
    assert {file.digest for file in orphans} == {
        file.digest for file in files if file.modified <= DEADLINE and file.digest not in shown
    }
    assert survey.unmarked == len(orphans)
    for file in orphans:
        survey.remove(file)
    left = [file for file in files if file not in orphans]
    eviction = survey.plan_eviction(budget)
    evicted = [file for file in left if eviction is not None and eviction.takes(file)]
    kept = [file for file in left if file not in evicted]
    assert sum(file.size for file in kept) <= budget
    if evicted:
        newest = max(file.modified // HOUR for file in evicted)
        assert all(file.modified // HOUR >= newest for file in kept if file.size)
        assert sum(file.size for file in kept) > budget - 10


def test_digests_that_begin_alike_stay_together() -> None:
    """Eight bytes are looked at: what is shown stays, whatever lies beside it."""
    files = [PoolFile(f"{'ab' * 8}{number:048x}", 1, 0) for number in range(3)]
    survey = survey_of(files)
    survey.mark([bytes.fromhex(files[1].digest)])
    assert not any(map(survey.is_orphan, files))


def test_a_file_that_was_not_there_is_no_orphan() -> None:
    survey = survey_of(list_files(10, lambda number: 2 * GRACE))
    assert not survey.is_orphan(PoolFile(make_digest(b"another"), 1, 0))


def test_a_large_pool_in_any_order() -> None:
    files = list_files(50_000, lambda number: number % 2 * 2 * GRACE)
    survey = survey_of(files)
    survey.mark(bytes.fromhex(file.digest) for file in files[:20_000])
    assert survey.unmarked == 15_000
    assert sum(map(survey.is_orphan, files)) == 15_000


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmms_eval_api.retention.pool_survey.MAX_CANDIDATES", 3)
    files = list_files(10, lambda number: 2 * GRACE)
    assert sum(map(survey_of(files).is_orphan, files)) == 3
