"""Jobs in every state, with files, for tests that look at them in the page."""

import json
from collections.abc import Iterable
from typing import Any, Final

from front_end_fixtures import FrontEnd
from indexed_samples import IndexedSamples, index_samples
from job_states import RESULTS, SUSPECT, complete_with_files, fail_job, set_status, start_job
from journal_segments import build_chunk, build_header, name_segment, pack_segment
from web_media import make_picture, make_sound, store_media, write_media

from lmms_eval_core import layout
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.sample_scoring import read_sampled_task
from lmms_eval_core.store.objects import ObjectStore

SCORES: Final = {
    "mme": {
        "score,none": {"value": 0.5, "stderr": 0.1},
        "score,strict": {"value": 0.25, "stderr": None},
        "perception,none": {"value": 1250.5, "stderr": None},
    }
}
# How `mme` scores its samples.
TASK: Final = read_sampled_task(RESULTS, "mme")
ATTEMPTS: Final = [
    {
        "number": 1,
        "jobName": "scored-1",
        "node": "node-a",
        "startedAt": "2026-01-01T00:00:00Z",
        "endedAt": "2026-01-01T00:10:00Z",
        "exitCode": 137,
        "reason": "OutOfMemory",
        "message": "The evaluator needed more memory than its limit.",
    },
    {
        "number": 2,
        "jobName": "scored-2",
        "node": "node-b",
        "startedAt": "2026-01-01T00:11:00Z",
        "endedAt": "2026-01-01T00:20:00Z",
        "exitCode": 0,
        "reason": "Succeeded",
        "resumed": {"answers": 12, "fromAttempt": 1, "exactness": "exact"},
    },
]


def submit(front_end: FrontEnd, name: str, **fields: Any) -> str:
    """Submit a job of this name; return it."""
    body = {"model": "llava_hf", "tasks": ["mme"], "name": name, "limit": 8, **fields}
    with front_end.session() as session:
        answer = session.post("/evaluate", json=body)
        assert answer.status_code == 200, answer.text
    return name


async def populate(front_end: FrontEnd, client: Transport, store: ObjectStore) -> None:
    """Submit jobs and move them on: two wait, one runs, three have ended; `scored` and `answers` have files."""
    for name in ("scored", "failed", "cancelled", "answers"):
        submit(front_end, name, labels={"run": "7"}, model_args={"pretrained": "Qwen/Qwen2.5-VL-7B-Instruct"})
    submit(front_end, "next", tasks=["mme", "mmmu_val", "chartqa", "docvqa_val", "ocrbench"], priority=3)
    submit(front_end, "held", hold=True)
    await complete_with_files(
        client, store, "scored", scores=SCORES, summary="mme 0.5", attempt=1, attempts=ATTEMPTS, **SUSPECT
    )
    await fail_job(client, "failed")
    with front_end.session() as session:
        assert session.delete("/jobs/cancelled").is_success
    await start_job(client, "answers")
    picture = await store_media(store, client.namespace, make_picture(320, 240))
    image = {"kind": "image", "thumb": picture, "display": picture, "width": 320, "height": 240}
    sound = {"kind": "audio", "display": await store_media(store, client.namespace, make_sound()), "seconds": 1.0}
    lacking = {"kind": "video", "omitted": "TooLarge"}
    await write_media(client, store, "answers", {number: [image, sound, lacking] for number in range(4)})
    await write_answers(client, store, "answers", range(6))


async def complete_with_samples(
    front_end: FrontEnd, client: Transport, store: ObjectStore, name: str, indexed: IndexedSamples
) -> ArtifactPrefix:
    """Submit and complete a job that has these samples of `mme`; return where its files are."""
    submit(front_end, name)
    await complete_with_files(client, store, name)
    document = await client.get(EVALUATIONS, name)
    prefix = ArtifactPrefix(client.namespace, name, document["metadata"]["uid"], 1)
    await put_samples(store, prefix, indexed)
    return prefix


async def store_samples(store: ObjectStore, prefix: ArtifactPrefix, samples: list[dict[str, Any]]) -> None:
    """Replace the samples of a completed job and their index."""
    await put_samples(store, prefix, index_samples(samples, TASK))


async def put_samples(store: ObjectStore, prefix: ArtifactPrefix, indexed: IndexedSamples) -> None:
    """Replace the files of a completed job's samples."""
    file = layout.sample_file("mme")
    await store.put(prefix.file(file), indexed.samples)
    await store.put(prefix.file(layout.index_file(file)), indexed.index)


async def store_run(
    front_end: FrontEnd, client: Transport, store: ObjectStore, samples: Iterable[dict[str, Any]]
) -> ArtifactPrefix:
    """Complete a job `indexed` with these samples; return where its files are."""
    return await complete_with_samples(front_end, client, store, "indexed", index_samples(list(samples), TASK))


async def store_compared(
    front_end: FrontEnd,
    client: Transport,
    store: ObjectStore,
    name: str,
    samples: list[dict[str, Any]],
    *,
    version: int = 1,
    **fields: Any,
) -> None:
    """Complete a job with these samples, and a results file that has their mean; `fields` are the request's."""
    submit(front_end, name, **fields)
    await complete_with_files(client, store, name)
    document = await client.get(EVALUATIONS, name)
    prefix = ArtifactPrefix(client.namespace, name, document["metadata"]["uid"], 1)
    mean = sum(sample["score"] for sample in samples) / len(samples)
    results = RESULTS | {"results": {"mme": {"score,none": mean}}, "versions": {"mme": version}}
    await store.put(prefix.file(layout.RESULTS_FILE), json.dumps(results).encode())
    await store_samples(store, prefix, samples)


async def write_answers(client: Transport, store: ObjectStore, name: str, documents: range, *, number: int = 0) -> None:
    """Store a segment of the journal of a job that runs, as the reporter does."""
    document = await client.get(EVALUATIONS, name)
    prefix = ArtifactPrefix(client.namespace, name, document["metadata"]["uid"], 1)
    lines = [build_chunk(documents)] if number else [build_header(1), build_chunk(documents)]
    await store.put(name_segment(prefix, number), pack_segment(lines))
    progress = document["status"]["progress"] | {"kept": documents.stop}
    await set_status(client, name, "Running", progress=progress)
