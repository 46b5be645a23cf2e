"""The reporter's part in the index of a million samples: uploads them, then indexes them.

A process of its own, started as `python -m bench.index_memory FOLDER SAMPLES [PICTURES]`: leaves the files in
FOLDER/store, and prints the processor time of the index in microseconds a sample, and the most memory that it held, in
MiB. The first PICTURES samples have one each, which no other sample has.
"""

import asyncio
import hashlib
import json
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.media import DocumentMedia, MediaItem, MediaKind, MediaOmission
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import Outcome
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter import main as reporter  # noqa: F401 - the memory of the whole program
from lmms_eval_reporter.index_upload import IndexUploader
from lmms_eval_reporter.media_table import MediaTable
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import Backoff, time_limit
from lmms_eval_reporter.run_directory import RunDirectory
from lmms_eval_reporter.settings import UploadLimits
from lmms_eval_reporter.upload import Uploader

TASK = "bench"
PREFIX = ArtifactPrefix("bench", "index", "0f4c6a1e-9d3b-4c2f-8a57-1c2d3e4f5a6b", 1)
RESULTS = {
    "results": {TASK: {"alias": TASK, "acc,none": 0.7}},
    "configs": {TASK: {"generation_kwargs": {"max_new_tokens": 64}}},
}
# As different as words of a language are.
WORDS = [f"{number:x}" for number in range(4096, 9096)]


async def store_and_index(folder: Path, samples: int, pictures: int = 0) -> float:
    """Store and index so many; return the processor time of the index in seconds."""
    media = _make_media(samples, pictures)
    output = folder / "run" / "output" / "m"
    output.mkdir(parents=True)
    name = f"20261127_070000_samples_{TASK}.jsonl"
    with (output / name).open("w") as file:
        file.writelines(_make_lines(samples))
    (folder / "store").mkdir()
    store, log, directory = (
        ObjectStore(StoreSettings(url=f"file://{folder}/store")),
        ReporterLog(),
        RunDirectory(folder / "run"),
    )
    uploader = Uploader(store, PREFIX, limits=UploadLimits(), backoff=Backoff(log, _ignore), log=log)
    outcome = Outcome(
        reason=Reason.SUCCEEDED,
        exit_code=0,
        results="output/m/20261127_070000_results.json",
        samples={TASK: f"output/m/{name}"},
    )
    await uploader.send(directory, outcome, "")
    began = time.process_time()
    limit = time_limit(None, stop=asyncio.Event(), grace=0)
    await IndexUploader(store, PREFIX, log=log, media=media).send(directory, uploader.samples, RESULTS, limit=limit)
    return time.process_time() - began


def _make_media(samples: int, pictures: int) -> MediaTable:
    """What the reporter knows of the media of a run, whose budget was used up after so many pictures."""
    table = MediaTable()
    for number in range(samples if pictures else 0):
        item = MediaItem(kind=MediaKind.IMAGE, omitted=MediaOmission.BUDGET)
        if number < pictures:
            thumb, display = (hashlib.sha256(f"{kind}{number}".encode()).hexdigest() for kind in ("thumb", "display"))
            item = MediaItem(kind=MediaKind.IMAGE, thumb=thumb, display=display, width=1024, height=768)
        table.add(DocumentMedia(task=TASK, document=number, items=[item]))
    return table


def _make_lines(samples: int) -> Iterator[str]:
    """Yield lines of half a kilobyte, as multiple choice has them."""
    generator = random.Random(0)
    for number in range(samples):
        words = generator.choices(WORDS, k=40)
        sample = {
            "doc_id": number,
            "target": generator.choice("ABCD"),
            "filtered_resps": f"{generator.choice('ABCD')}, as {' '.join(words[:10])}",
            "token_counts": [{"input_tokens": 700, "output_tokens": generator.randrange(65)}],
            "doc_hash": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b",
            "acc": float(generator.random() < 0.7),
            "input": " ".join(words),
        }
        yield json.dumps(sample) + "\n"


async def _ignore(error: Exception) -> None:
    await asyncio.sleep(0)


def main() -> None:
    """Print both numbers."""
    folder, (samples, *pictures) = Path(sys.argv[1]), map(int, sys.argv[2:])
    seconds = asyncio.run(store_and_index(folder, samples, *pictures))
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(seconds / samples * 1e6, int(found[1]) / 1024 if found else 0)


if __name__ == "__main__":
    main()
