"""The reporter's part in a journal of a million answers: stores all of it, and brings it to the next attempt.

A process of its own, started as `python -m bench.journal_memory ANSWERS`: prints the most memory that it held, in MiB.
"""

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lmms_eval_core.journal import MAX_JOURNAL_BYTES, JournalName
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.run import JOURNAL_DIRECTORY
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter import main as reporter  # noqa: F401 - the memory of the whole program
from lmms_eval_reporter.earlier_attempts import EarlierAttempts
from lmms_eval_reporter.journal_segments import Room
from lmms_eval_reporter.journal_upload import JournalUploader
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import Backoff
from lmms_eval_reporter.run_directory import RunDirectory

CHUNK = 20
TASK = "bench"
TEXTS = {"s": "The picture shows a street with houses. " * 6, "p": "How many houses? " * 6, "g": "12 houses"}
UID = "0f4c6a1e-9d3b-4c2f-8a57-1c2d3e4f5a6b"


async def store_and_bring(folder: Path, answers: int) -> None:
    """A journal of so many answers, to a store in a folder and back; raises RuntimeError where not all arrive."""
    (folder / "store").mkdir()
    store, log = ObjectStore(StoreSettings(url=f"file://{folder}/store")), ReporterLog()
    prefix = ArtifactPrefix("bench", "journal", UID, 1)
    written = await store_journal(store, prefix, folder / "attempt-1", answers)
    second = _make_directory(folder / "attempt-2")
    following = EarlierAttempts(store, prefix._replace(attempt=2), backoff=Backoff(log, _ignore), log=log)
    await following.fetch_journals(second, Room(MAX_JOURNAL_BYTES))
    brought = next((folder / "attempt-2" / "earlier").iterdir()).stat().st_size
    if brought != written:
        raise RuntimeError(f"of {written} bytes {brought} came back")


async def store_journal(
    store: ObjectStore, prefix: ArtifactPrefix, folder: Path, answers: int, *, first: int = 0
) -> int:
    """Store a journal of so many answers, the `first` of them by number, as the reporter does; return its bytes."""
    directory, name = _make_directory(folder), JournalName(prefix.attempt, 0)
    journal = folder / JOURNAL_DIRECTORY / str(name)
    with journal.open("w") as file:
        file.writelines(_make_lines(prefix.attempt, range(first, first + answers)))
    log = ReporterLog()
    uploader = JournalUploader(
        directory,
        store,
        prefix,
        ranks=1,
        room=Room(MAX_JOURNAL_BYTES),
        shown=True,
        backoff=Backoff(log, _ignore),
        log=log,
    )
    await uploader.upload()
    if uploader.kept != answers:
        raise RuntimeError(f"{uploader.kept} answers are in the store")
    return journal.stat().st_size


def _make_directory(folder: Path) -> RunDirectory:
    (folder / JOURNAL_DIRECTORY).mkdir(parents=True)
    return RunDirectory(folder)


def _make_lines(attempt: int, numbers: range) -> Iterator[str]:
    yield json.dumps({"v": 1, "header": {"attempt": attempt, "rank": 0, "parts": {}}}, separators=(",", ":")) + "\n"
    for start in numbers[::CHUNK]:
        batches = [
            {"id": f"{number:020x}", "a": [{"t": TASK, "d": number} | TEXTS]}
            for number in range(start, min(start + CHUNK, numbers.stop))
        ]
        yield json.dumps({"b": batches, "at": 1.5, "s": 1.0}, separators=(",", ":")) + "\n"


async def _ignore(error: Exception) -> None:
    await asyncio.sleep(0)


def main() -> None:
    """Prints the peak as the kernel has it."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(store_and_bring(Path(folder), int(sys.argv[1])))
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(int(found[1]) / 1024 if found else 0)


if __name__ == "__main__":
    main()
