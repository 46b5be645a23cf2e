"""The answer of GET /jobs/{job_id} with what only the object store knows: the results file, and the first samples.

The answer comes in time without it, and says so: a waiting client must not fail because a disk does.
"""

import json
from itertools import chain
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.artifacts.cursor import Position
from lmms_eval_api.artifacts.links import links, result
from lmms_eval_api.artifacts.results import Results
from lmms_eval_api.artifacts.samples import Wanted
from lmms_eval_api.artifacts.store import NO_STORE, Unusable, within
from lmms_eval_api.artifacts.stored_files import Stored, stored
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.responses import intersperse
from lmms_eval_core import layout
from lmms_eval_core.kube.client import Object
from lmms_eval_core.store.errors import ObjectMissing, StoreError
from lmms_eval_core.wire import JobInfo, JobStatus

OUTPUT_SECONDS: Final = 3.0
FIRST_SAMPLES: Final = 10
SAMPLES_SECONDS: Final = 10.0
# All first samples together.
SAMPLES_BYTES: Final = 8 * 1024 * 1024


class Viewed(NamedTuple):
    """A job as it is to be shown: its object, and the address of the front end as the caller sees it."""

    job: JobSnapshot
    document: Object
    base: str


def located(info: JobInfo, viewed: Viewed) -> JobInfo:
    """`info` with its links, as far as they are known without a look into the store."""
    return _linked(info, viewed, stored(viewed.job, viewed.document))


async def detailed(info: JobInfo, viewed: Viewed, archive: Archive, *, samples: bool) -> list[bytes]:
    """`info` as JSON in parts, with links, and with output and samples where there are any."""
    files = stored(viewed.job, viewed.document)
    output = await _output(info, files, archive) if info.status is JobStatus.COMPLETED else None
    if output is not None and files is not None:
        files = files._replace(tasks=output.tasks)
    _linked(info, viewed, files)
    first = await _first_samples(info, files, archive) if samples else None
    return _joined(info, output.text if output is not None else b"null", first)


def _linked(info: JobInfo, viewed: Viewed, files: Stored | None) -> JobInfo:
    info.links = links(viewed.base, info.job_id, files)
    if info.status is JobStatus.COMPLETED:
        info.result = result(info.links, viewed.document["spec"])
    return info


async def _output(info: JobInfo, files: Stored | None, archive: Archive) -> Results | None:
    try:
        if archive.results is None:
            info.warnings.append(f"output is null: {NO_STORE}")
        elif files is not None:
            return await archive.results.soon(files, seconds=OUTPUT_SECONDS)
    except ObjectMissing:
        info.warnings.append("output is null: the results file is not in the object store any more.")
    except Unusable as error:
        info.warnings.append(f"output is null: {error.why}.")
    except StoreError:
        info.warnings.append("output is null: the object store cannot be read now. Nothing in it is lost; ask again.")
    return None


async def _first_samples(info: JobInfo, files: Stored | None, archive: Archive) -> list[bytes]:
    found: dict[str, list[bytes]] = {}
    try:
        if archive.samples is not None and files is not None:
            await within(SAMPLES_SECONDS, _read_first(found, files, archive))
    except Unusable as error:
        info.warnings.append(f"samples are not all here: {error.why}.")
    except StoreError:
        info.warnings.append("samples are not all here: the object store cannot be read now. Ask again.")
    missing = len(files.tasks) - len(found) if files is not None else 0
    if missing:
        info.warnings.append(f"samples of {missing} tasks are left out; links.samples says where they are.")
    lists = [[json.dumps(task).encode(), b":[", *intersperse(samples, b","), b"]"] for task, samples in found.items()]
    return [b"{", *chain.from_iterable(intersperse(lists, [b","])), b"}"]


async def _read_first(found: dict[str, list[bytes]], files: Stored, archive: Archive) -> None:
    assert archive.samples is not None
    size = 0
    for task in files.tasks:
        wanted = Wanted(files.prefix.file(layout.sample_file(task)))
        page = await archive.samples.page(wanted, start=Position(), limit=FIRST_SAMPLES)
        found[task] = page.samples
        size += sum(map(len, page.samples))
        if size > SAMPLES_BYTES:
            return


def _joined(info: JobInfo, output: bytes, samples: list[bytes] | None) -> list[bytes]:
    """JSON put together from JSON: what is in the store is neither parsed nor written anew for every answer."""
    own = info.model_dump_json(exclude={"output", "samples"}).encode()
    return [own[:-1], b',"output":', output, b',"samples":', *(samples or [b"null"]), b"}"]
