"""POST /evaluate, stored when it answers: beside bare creates of the same, and beside the original, which stores
nothing.
"""

import asyncio
import itertools
import json
import statistics
import time
from typing import Any, Final

from bench.front_end.load import CONNECTIONS, SECONDS, per_second
from bench.front_end.servers import BenchServer
from bench.population import TASKS
from bench.rows import Row
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import EVALUATIONS, Object

ROUNDS: Final = 3
TARGET: Final = 0.7
BODY: Final[dict[str, Any]] = {
    "model": "qwen2_5_vl",
    "tasks": TASKS,
    "model_args": {
        "pretrained": "/checkpoints/vlm-7b-instruct-sft/step-00012000",
        "attn_implementation": "flash_attention_2",
        "max_pixels": 12845056,
        "min_pixels": 200704,
        "max_num_frames": 32,
        "use_custom_video_loader": True,
        "device_map": "auto",
    },
    "batch_size": "auto",
    "gen_kwargs": "temperature=0,max_new_tokens=1024,do_sample=False",
    "log_samples": True,
    "predict_only": False,
    "num_gpus": 1,
}


async def measure(size: int, ours: BenchServer, original: BenchServer, client: transport.Transport) -> list[Row]:
    """Submissions a second, in turns."""
    text, rounds, sample = json.dumps(BODY), [], await _stored(ours, client)
    for number in range(ROUNDS):
        stored = await asyncio.to_thread(per_second, ours, ["/evaluate"], body=text)
        rounds.append((stored, await _creates(client, sample, f"bare-{number}")))
    rate, floor = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(stored / bare for stored, bare in rounds)
    kept = await asyncio.to_thread(per_second, original, ["/evaluate"], body=text)
    return [
        Row(
            f"{size} queued: POST /evaluate, stored",
            rate,
            "1/s",
            floor=f"lmms-eval's server, which keeps it in memory: {kept:.0f} a second",
        ),
        Row(
            f"{size} queued: POST /evaluate, as a multiple of bare creates",
            ratio,
            "x",
            TARGET,
            f"which are {floor:.0f}/s",
            more=True,
        ),
    ]


async def _stored(server: BenchServer, client: transport.Transport) -> Object:
    """What the front end creates for such a body."""
    async with server.client() as http:
        name = (await http.post("/evaluate", json=BODY)).raise_for_status().json()["job_id"]
    made = await client.get(EVALUATIONS, name)
    metadata = {key: made["metadata"][key] for key in ("labels", "annotations")}
    return {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": metadata, "spec": made["spec"]}


async def _creates(client: transport.Transport, sample: Object, prefix: str) -> float:
    """Creates of the same a second, by the front end's own client, as many at once."""
    numbers, end = itertools.count(), time.monotonic() + SECONDS

    async def writer() -> int:
        made = 0
        while time.monotonic() < end:
            metadata = {**sample["metadata"], "name": f"{prefix}-{next(numbers)}"}
            await client.create(EVALUATIONS, {**sample, "metadata": metadata})
            made += 1
        return made

    return sum(await asyncio.gather(*(writer() for _ in range(CONNECTIONS)))) / SECONDS
