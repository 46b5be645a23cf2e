"""The response of GET /jobs/{job_id}: links, and what only the object store knows, the results file and first samples.

The response comes in time without the store, and says so: a waiting client must not fail because a disk does.
"""

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.artifacts.frames import Position
from lmms_eval_api.artifacts.results import StoredResults
from lmms_eval_api.artifacts.samples import WantedSamples
from lmms_eval_api.artifacts.store import NO_STORE, UnusableArtifact, read_within
from lmms_eval_api.artifacts.stored_files import (
    StoredFiles,
    find_stored_files,
    list_answered_tasks,
    make_attempt_prefix,
)
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.responses import intersperse
from lmms_eval_core import layout
from lmms_eval_core.harness_files import find_model_folder
from lmms_eval_core.kube.client import Object
from lmms_eval_core.store.errors import ObjectMissing, StoreError
from lmms_eval_core.wire import JobInfo, JobStatus, Links

OUTPUT_SECONDS: Final = 3.0
FIRST_SAMPLES: Final = 10
SAMPLES_SECONDS: Final = 10.0
# For the first samples of all tasks.
SAMPLES_BYTES: Final = 8 * 1024 * 1024


class JobView(NamedTuple):
    """A job as it is to be shown: its object, and the address of the front end as the caller sees it."""

    job: JobSnapshot
    document: Object
    base: str


def add_links(info: JobInfo, viewed: JobView) -> JobInfo:
    """Return `info` with links, as far as they are known without reading the store."""
    asked = list_answered_tasks(viewed.job)
    # A single name has all answers; of several, some may be groups.
    answered = asked if len(asked) == 1 else ()
    return _set_links(info, viewed, find_stored_files(viewed.job, viewed.document), answered=answered)


async def render_details(info: JobInfo, viewed: JobView, archive: Archive, *, samples: bool) -> list[bytes]:
    """Return `info` as JSON in parts, with links, and with output and samples where there are any."""
    files = find_stored_files(viewed.job, viewed.document)
    output = await _read_output(info, files, archive) if info.status is JobStatus.COMPLETED else None
    if output is not None and files is not None:
        files = files._replace(tasks=output.tasks)
    _set_links(info, viewed, files, answered=await _list_answered(viewed, archive))
    first = await _render_first_samples(info, files, archive) if samples else None
    return _join(info, output.text if output is not None else b"null", first)


def _set_links(info: JobInfo, viewed: JobView, files: StoredFiles | None, *, answered: Sequence[str]) -> JobInfo:
    """Set the links; `answered` are the tasks of which a job without samples has answers."""
    info.links = make_links(viewed.base, info.job_id, files)
    if not info.links.samples:
        info.links.samples = {task: f"{info.links.self}/samples/{task}" for task in answered}
    if info.status is JobStatus.COMPLETED:
        info.result = make_result(info.links, viewed.document["spec"])
    return info


async def _list_answered(viewed: JobView, archive: Archive) -> Sequence[str]:
    """Return the tasks of which a job without samples may have answers; a group is its tasks, if the store says so."""
    asked = list_answered_tasks(viewed.job)
    attempt = viewed.document.get("status", {}).get("attempt") or 0
    if not asked or archive.answers is None:
        return asked
    try:
        prefix = make_attempt_prefix(viewed.job, viewed.document, attempt)
        return await read_within(OUTPUT_SECONDS, archive.answers.list_run_tasks(prefix)) or asked
    except StoreError:
        return asked


async def _read_output(info: JobInfo, files: StoredFiles | None, archive: Archive) -> StoredResults | None:
    try:
        if archive.results is None:
            info.warnings.append(f"output is null: {NO_STORE}")
        elif files is not None:
            return await archive.results.get_within(files, seconds=OUTPUT_SECONDS)
    except ObjectMissing:
        info.warnings.append("output is null: the results file is not in the object store any more.")
    except UnusableArtifact as error:
        info.warnings.append(f"output is null: {error.why}.")
    except StoreError:
        info.warnings.append("output is null: the object store cannot be read now. Nothing in it is lost; ask again.")
    return None


async def _render_first_samples(info: JobInfo, files: StoredFiles | None, archive: Archive) -> list[bytes]:
    found: dict[str, list[bytes]] = {}
    try:
        if archive.samples is not None and files is not None:
            await read_within(SAMPLES_SECONDS, _read_first(found, files, archive))
    except UnusableArtifact as error:
        info.warnings.append(f"samples are not all here: {error.why}.")
    except StoreError:
        info.warnings.append("samples are not all here: the object store cannot be read now. Ask again.")
    missing = len(files.tasks) - len(found) if files is not None else 0
    if missing:
        info.warnings.append(f"samples of {missing} tasks are left out; links.samples says where they are.")
    lists = [[json.dumps(task).encode(), b":[", *intersperse(samples, b","), b"]"] for task, samples in found.items()]
    return [b"{", *chain.from_iterable(intersperse(lists, [b","])), b"}"]


async def _read_first(found: dict[str, list[bytes]], files: StoredFiles, archive: Archive) -> None:
    assert archive.samples is not None
    size = 0
    for task in files.tasks:
        wanted = WantedSamples(files.prefix.file(layout.sample_file(task)))
        page = await archive.samples.read_page(wanted, start=Position(), limit=FIRST_SAMPLES)
        found[task] = page.samples
        size += sum(map(len, page.samples))
        if size > SAMPLES_BYTES:
            return


def _join(info: JobInfo, output: bytes, samples: list[bytes] | None) -> list[bytes]:
    """Return the parts of the JSON: what is in the store is neither parsed nor written anew."""
    own = info.model_dump_json(exclude={"output", "samples"}).encode()
    return [own[:-1], b',"output":', output, b',"samples":', *(samples or [b"null"]), b"}"]


def make_links(base: str, name: str, files: StoredFiles | None) -> Links:
    """Return absolute URLs of all there is of a job; results and samples when there are any."""
    job = f"{base}/jobs/{name}"
    tasks = files.tasks if files is not None else ()
    # Names of tasks are names of files here, in which nothing has to be quoted.
    return Links(
        self=job,
        events=f"{job}/events",
        logs=f"{job}/logs",
        results=f"{job}/results" if files is not None and files.has_results else None,
        samples={task: f"{job}/samples/{task}" for task in tasks},
        explore={task: f"{job}/explore/{task}" for task in tasks},
        files=f"{job}/files" if files is not None and files.has_task_files else None,
    )


def make_result(links: Links, spec: Object) -> dict[str, Any]:
    """Return the `result` of lmms-eval's own server: what is in the folder of the model, as URLs instead of paths."""
    return {name_model_folder(spec): {"results": links.results, "samples": list(links.samples.values())}}


def name_model_folder(spec: Object) -> str:
    """Return the folder into which lmms-eval writes this model's results; the adapter's name, if no argument has it."""
    arguments = ",".join(f"{key}={value}" for key, value in spec.get("modelArgs", {}).items())
    return find_model_folder(arguments) or str(spec["model"])
