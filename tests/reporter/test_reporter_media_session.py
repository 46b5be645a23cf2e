"""Media in a whole session of the reporter: stored while the run goes on, on cards of samples at the end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from journal_files import (
    FolderStore,
    OneEvaluation,
    RecordedLog,
    make_header,
    make_prefix,
    make_run_input,
    store_journal,
)
from media_files import hash_file, make_media_line, make_webp
from reporter_process import RunDirectoryWriter, wait_for

from lmms_eval_core.journal import JournalKind, JournalName
from lmms_eval_core.kube.client import KubeClient
from lmms_eval_core.layout import media_object
from lmms_eval_core.media import MediaPolicy
from lmms_eval_core.run import MediaLimits, ResumePolicy
from lmms_eval_core.sample_index.format import decode_header
from lmms_eval_core.sample_index.reader import find_blocks, read_card_media, read_cards
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter.session import Session
from lmms_eval_reporter.settings import Settings

TASK = "tiny_vqa"


class Attempt:
    """One attempt of an evaluation that keeps media."""

    def __init__(self, path: Path, number: int, files: RunDirectoryWriter | None = None) -> None:
        self.number = number
        self.files = files or RunDirectoryWriter(path / f"run-{number}")
        self.store = FolderStore(path / "store")
        self.evaluation, self.log, self.stop = OneEvaluation(number), RecordedLog(), asyncio.Event()
        for folder in ("journal", "media"):
            (self.files.path / folder).mkdir(exist_ok=True)

    async def start(self, **run: Any) -> None:
        settings = Settings(
            run=make_run_input(self.number, media=MediaLimits(policy=MediaPolicy.DISPLAY), **run),
            store=StoreSettings(url="file:///unused"),
            directory=self.files.path,
            poll_seconds=0.01,
            progress_seconds=0.02,
            journal_seconds=0.02,
        )
        client = cast(KubeClient, self.evaluation)
        session = Session(settings, store=self.store, client=client, stop=self.stop, log=self.log)
        self.task = asyncio.create_task(session.run())
        await self.files.wait_for_file("ready")

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, 20)

    def add(self, document: int, *, salt: str = "", named: bool = True) -> str:
        content = make_webp(salt=salt or str(document))
        (self.files.path / "media" / hash_file(content)).write_bytes(content)
        path = self.files.path / "journal" / str(self.name)
        lines = b"" if path.exists() else make_header(self.number)
        if named:
            lines += make_media_line(document, {"kind": "image", "thumb": hash_file(content)}, task=TASK)
        with path.open("ab") as stream:
            stream.write(lines)
        return hash_file(content)

    async def succeed(self) -> None:
        self.files.write_success()
        await self.files.wait_for_file("published")
        await self.end()

    @property
    def name(self) -> JournalName:
        return JournalName(self.number, 0, JournalKind.MEDIA)

    async def read(self, name: str) -> bytes:
        return await ObjectStore.get(self.store, make_prefix(self.number).file(name), max_bytes=2**26)

    async def read_cards(self) -> list[list[str | None]]:
        """The thumbs of each sample."""
        index = await self.read(f"index/{TASK}.idx")
        header = decode_header(index, len(index))
        (zone,) = header.zones
        start = zone.start + zone.sizes[0]
        (block,) = find_blocks(index[start : start + zone.sizes[1]], zone, range(zone.rows))
        cards = read_cards(index[block.start : block.end], zone.rows, len(header.metrics))
        return [[item.thumb for item in read_card_media(card)[0]] for card in cards]


Make = Callable[..., Attempt]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    yield partial(Attempt, tmp_path)


async def test_a_picture_is_stored_while_the_run_goes_on_and_on_its_card_at_the_end(make: Make) -> None:
    one = make(1)
    await one.start()
    first = one.add(0)

    async def stored() -> bool:
        return any(f"journal/{one.name}" in key for key in one.store.puts)

    await wait_for(stored, 20)
    assert one.store.puts.index(media_object("team", first)) < len(one.store.puts) - 1
    second = one.add(1)
    await one.succeed()
    assert await one.read_cards() == [[first], [second]]
    assert await one.read("media.idx") == b"".join(sorted(map(bytes.fromhex, (first, second))))
    order = [key.removeprefix(make_prefix().path) for key in one.store.puts]
    assert order.index("results.json") < order.index("media.idx") < order.index("complete.json")
    assert list((one.files.path / "media").iterdir()) == []
    assert not [key async for key in one.store.list(make_prefix().file("journal/"))]


async def test_pictures_of_an_earlier_attempt_are_those_of_the_run(make: Make) -> None:
    content = make_webp(salt="earlier")
    two = make(2)
    line = make_media_line(0, {"kind": "image", "thumb": hash_file(content)}, task=TASK)
    await store_journal(two.store, JournalName(1, 0, JournalKind.MEDIA), make_header(1) + line)
    await two.start()
    # The user's code could change it there.
    assert not list((two.files.path / "earlier").glob("media-*"))
    second = two.add(1)
    await two.succeed()
    assert await two.read_cards() == [[hash_file(content)], [second]]
    assert await two.read("media.idx") == b"".join(sorted(map(bytes.fromhex, (hash_file(content), second))))


async def test_a_run_that_begins_anew_has_none_of_an_earlier_attempt(make: Make) -> None:
    two = make(2)
    line = make_media_line(0, {"kind": "image", "thumb": "a" * 64}, task=TASK)
    await store_journal(two.store, JournalName(1, 0, JournalKind.MEDIA), make_header(1) + line)
    await two.start(resume=ResumePolicy.NEVER)
    await two.succeed()
    assert await two.read_cards() == [[], []] and not any("media.idx" in key for key in two.store.puts)


async def test_after_a_restart_of_the_container_nothing_is_lost(make: Make) -> None:
    one = make(1)
    await one.start()
    first = one.add(0)

    async def taken() -> bool:
        return not list((one.files.path / "media").iterdir())

    await wait_for(taken, 20)
    one.task.cancel()
    again = make(1, one.files)
    await again.start()
    second = again.add(1)
    await again.succeed()
    assert await again.read_cards() == [[first], [second]]


async def test_a_store_that_takes_no_media_keeps_no_results_waiting(make: Make) -> None:
    one = make(1)
    await one.start()
    one.store.is_away, one.store.away_at = True, ".media"
    one.add(0)
    await one.succeed()
    assert one.evaluation.object["status"]["summary"] == "tiny_vqa 0.25"
    assert await one.read_cards() == [[None], []]
