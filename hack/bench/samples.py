"""Samples by their index: what it costs to make, and how soon a page of it is there."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from bench import index_memory
from bench.rows import Row, percentile
from lmms_eval_api.artifacts.sample_index import CardPage, CardPosition, CardQuery, OpenIndex, SampleIndexReader
from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_core import layout
from lmms_eval_core.media import MAX_FILES
from lmms_eval_core.sample_scoring import SampleFlag
from lmms_eval_core.store.objects import ObjectStore, Tail
from lmms_eval_core.store.settings import StoreSettings

LARGE: Final = 1_000_000
SMALL: Final = 100_000
DELAY_SECONDS: Final = 0.05
PEAK_MIB, SCREEN_SECONDS, SERVER_MS = 256.0, 1.0, 50.0
ROUNDS: Final = 20
PAGE: Final = 50
SAMPLES: Final = layout.sample_file(index_memory.TASK)
INDEX_KEY: Final = index_memory.PREFIX.file(layout.index_file(SAMPLES))
SAMPLES_KEY: Final = index_memory.PREFIX.file(SAMPLES)


class DistantStore(ObjectStore):
    """Answers each request a while later."""

    def __init__(self, folder: Path, delay: float) -> None:
        super().__init__(StoreSettings(url=f"file://{folder}/store"))
        self._delay = delay

    async def tail(self, key: str, *, length: int) -> Tail:
        """See `ObjectStore`."""
        await asyncio.sleep(self._delay)
        return await super().tail(key, length=length)

    async def range(self, key: str, *, start: int, length: int) -> bytes:
        """See `ObjectStore`."""
        await asyncio.sleep(self._delay)
        return await super().range(key, start=start, length=length)


def measure() -> list[Row]:
    """The rows of this part."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_measure_large(Path(folder) / "large"), *asyncio.run(_measure_small(Path(folder) / "small"))]


def build(folder: Path, samples: int, pictures: int = 0) -> tuple[float, float]:
    """Store and index so many below `folder`; return microseconds for each, and the reporter's memory in MiB."""
    command = [sys.executable, "-m", "bench.index_memory", str(folder), str(samples), str(pictures)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    microseconds, peak = map(float, done.stdout.split()[-2:])
    return microseconds, peak


def _measure_large(folder: Path) -> list[Row]:
    microseconds, peak = build(folder, LARGE)
    size = (folder / "store" / INDEX_KEY).stat().st_size / LARGE
    first, wrong = asyncio.run(_measure_screens(folder))
    with tempfile.TemporaryDirectory() as other:
        _, peak_with_media = build(Path(other), LARGE, MAX_FILES // 2)
    name = f"{LARGE:,} samples"
    return [
        Row(f"{name}: index, processor time for each", microseconds, "us"),
        Row(f"{name}: index, bytes for each", size, "B"),
        Row(f"{name}: reporter, memory at its highest", peak, "MiB", PEAK_MIB),
        Row(f"{name}: the same with as many pictures as a run keeps", peak_with_media, "MiB", PEAK_MIB),
        Row(f"{name}: first screen, store at 50 ms", first, "s", SCREEN_SECONDS),
        Row(f"{name}: first screen of wrong ones, store at 50 ms", wrong, "s", SCREEN_SECONDS),
    ]


async def _measure_screens(folder: Path) -> list[float]:
    store, worker = DistantStore(folder, DELAY_SECONDS), Worker()
    # It runs in a front end that does; its start is not the index's.
    await worker.call(abs, 1)
    found = []
    for query in (CardQuery(), CardQuery(SampleFlag.WRONG)):
        began = time.monotonic()
        reader = SampleIndexReader(store, worker, SampleReader(store, worker))
        await _read(reader, await reader.open(INDEX_KEY, samples=SAMPLES_KEY), query)
        found.append(time.monotonic() - began)
    return found


async def _measure_small(folder: Path) -> list[Row]:
    await asyncio.to_thread(build, folder, SMALL)
    store, worker = DistantStore(folder, 0), Worker()
    reader = SampleIndexReader(store, worker, SampleReader(store, worker))
    index = await reader.open(INDEX_KEY, samples=SAMPLES_KEY)

    async def read_wrong(number: int) -> None:
        await _read(reader, index, CardQuery(SampleFlag.WRONG), number * 4000)

    async def read_sorted(number: int) -> None:
        await _read(reader, index, CardQuery(SampleFlag.WRONG, sort="tokens"), number * 1000)

    async def sort(number: int) -> None:
        fresh = SampleIndexReader(store, worker, SampleReader(store, worker))
        opened = await fresh.open(INDEX_KEY, samples=SAMPLES_KEY)
        await _read(fresh, opened, CardQuery(sort="tokens", descending=True))

    async def read_one(number: int) -> None:
        await reader.read_sample(index, number * 4000, None)

    name = f"{SMALL:,} samples"
    return [
        Row(f"{name}: a page of wrong ones, 95 %", await _time(read_wrong), "ms", SERVER_MS),
        Row(f"{name}: a page of wrong ones by tokens, 95 %", await _time(read_sorted), "ms", SERVER_MS),
        Row(f"{name}: sorted for the first time, 95 %", await _time(sort), "ms"),
        Row(f"{name}: one sample, 95 %", await _time(read_one), "ms", SERVER_MS),
    ]


async def _read(reader: SampleIndexReader, index: OpenIndex, query: CardQuery, place: int = 0) -> CardPage:
    page = await reader.read_page(index, query, CardPosition(place), PAGE)
    if len(page.cards) != PAGE:
        raise RuntimeError(f"a page has {len(page.cards)} cards")
    return page


async def _time(read: Callable[[int], Awaitable[None]]) -> float:
    found = []
    for number in range(ROUNDS):
        began = time.monotonic()
        await read(number)
        found.append(1000 * (time.monotonic() - began))
    return percentile(found, 0.95)
