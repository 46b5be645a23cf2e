"""Shared by the tests that abuse the front end: harmful texts, an ended job with files, and limits for every answer."""

import json
import os
from typing import Any

import zstandard
from indexed_samples import index_samples

from lmms_eval_core import layout, names
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.sample_scoring import SampledTask
from lmms_eval_core.store.objects import ObjectStore

# How many inputs are tried: 1 takes about a minute in all, 10 and more are for a night.
ABUSE_FACTOR = float(os.environ.get("LMMS_EVAL_TEST_ABUSE", "1"))
# No answer may take longer, whatever was sent.
MAX_ANSWER_SECONDS = 20.0
# No answer may contain these.
INTERNAL_TEXTS = ("Traceback", 'File "/', "site-packages", "lmms_eval_api.", "lmms_eval_core.", "0x7f")
SAMPLE = {"doc_id": 0, "target": "B", "filtered_resps": ["B"], "exact_match": 1.0}


def list_injections(canary: str) -> list[str]:
    """List texts that create the file `canary` if anything runs them as code."""
    return [
        f"$(touch {canary})",
        f"`touch {canary}`",
        f"; touch {canary} #",
        f"| touch {canary}",
        f"&& touch {canary}",
        f"\ntouch {canary}\n",
        f"'; touch {canary}; '",
        f'"; touch {canary}; "',
        f"--config={canary}",
        f"__import__('os').system('touch {canary}')",
        f"{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}{canary}",
        f"!!python/object/apply:os.system ['touch {canary}']",
        f"%{{open({canary!r}, 'w')}}",
        f"${{IFS}}touch${{IFS}}{canary}",
    ]


async def create_ended_job(client: Transport, store: ObjectStore, name: str) -> None:
    """Create a completed job whose files are in the store, as operator and reporter leave it."""
    metadata = {"name": name, "namespace": client.namespace}
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": metadata,
        "spec": {"model": "a", "tasks": ["mme"]},
    }
    uid = (await client.create(EVALUATIONS, body))["metadata"]["uid"]
    prefix = ArtifactPrefix(client.namespace, name, uid, 1)
    indexed = index_samples([SAMPLE | {"doc_id": number} for number in range(700)], SampledTask())
    files = {
        "results.json": json.dumps({"results": {"mme": {"exact_match,none": float("nan")}}}).encode(),
        layout.sample_file("mme"): indexed.samples,
        "log.txt.zst": zstandard.compress(b"one\ntwo\nthree\n"),
    }
    for file, data in files.items():
        await store.put(prefix.file(file), data)
    await store.put(prefix.file(layout.index_file(layout.sample_file("mme"))), indexed.index)
    listed = [{"name": file, "bytes": len(data)} for file, data in files.items()]
    artifacts = {"uri": f"s3://artifacts/{prefix.path}", "files": listed}
    for status in (
        {"phase": "Running", "attempt": 1},
        {"phase": "Completed", "reason": "Succeeded", "artifacts": artifacts},
    ):
        patch: list[dict[str, Any]] = [
            {"op": "add", "path": f"/status/{key}", "value": value} for key, value in status.items()
        ]
        await client.json_patch(EVALUATIONS, name, patch, subresource="status")
