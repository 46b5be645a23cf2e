"""Completed jobs whose samples are compared over HTTP, from a store in memory."""

import json
from collections.abc import Sequence
from typing import Any, cast

import httpx
from evaluation_objects import build_evaluation_object
from indexed_samples import index_samples
from memory_store import MemoryStore

from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_api.auth import AnonymousAccess, Authenticator
from lmms_eval_api.auth.attributes import ResourceAttributes
from lmms_eval_api.auth.authenticator import Caller
from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.feeds import JobFeeds
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.server.app import make_application
from lmms_eval_api.settings import ApiSettings, AuthMode
from lmms_eval_core import layout
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object
from lmms_eval_core.kube.errors import NotFound
from lmms_eval_core.kube.reflector import Reflector
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.sample_scoring import read_sampled_task

# For all tests, as processes are behind them.
WORKERS = Worker(), Worker()
SPEC = {"model": "qwen2_5_vl", "tasks": ["mme"], "modelArgs": {"pretrained": "main"}}


class NoJobs:
    """An API server that has no further job."""

    namespace = "team"

    async def get(self, *_: object) -> Object:
        raise NotFound("", {})


NO_JOBS = cast(KubeClient, NoJobs())


def make_samples(values: Sequence[Any], **fields: Any) -> list[dict[str, Any]]:
    """Return samples with these values of `acc`."""
    return [
        {"doc_id": at, "target": "A", "input": f"Question {at}", "filtered_resps": ["A"], "acc": value, **fields}
        for at, value in enumerate(values)
    ]


class Jobs:
    """Completed jobs with samples, in a cache and in a store."""

    def __init__(self) -> None:
        self.store, self.cache = MemoryStore(), JobCache()

    def add(
        self,
        name: str,
        tasks: dict[str, list[dict[str, Any]]],
        *,
        spec: dict[str, Any] | None = None,
        results: dict[str, Any] | None = None,
        indexed: bool = True,
        **status: Any,
    ) -> dict[str, Any]:
        """Store a job whose results are the means of its samples; `results` are laid over them."""
        prefix = ArtifactPrefix("team", name, f"{name:0<8}-uid", 1)
        found: dict[str, Any] = {
            "results": {task: {"acc,none": self._average(samples)} for task, samples in tasks.items()},
            "versions": dict.fromkeys(tasks, 1),
        }
        found |= results or {}
        self.store.objects[prefix.file(layout.RESULTS_FILE)] = json.dumps(found).encode()
        for task, samples in tasks.items():
            stored = index_samples(samples, read_sampled_task(found, task))
            file = layout.sample_file(task)
            self.store.objects[prefix.file(file)] = stored.samples
            if indexed:
                self.store.objects[prefix.file(layout.index_file(file))] = stored.index
        files = [{"name": name, "bytes": 1} for name in (layout.RESULTS_FILE, *map(layout.sample_file, tasks))]
        artifacts = {"uri": f"s3://artifacts/{prefix.path}", "files": files}
        state = {"reason": "Succeeded", "attempt": 1, "artifacts": artifacts, **status}
        made = build_evaluation_object(name, uid=prefix.uid, phase="Completed", status=state)
        made["spec"] |= SPEC | (spec or {})
        self.cache.learn(made)
        return found

    def put_index(self, name: str, content: bytes | None) -> None:
        prefix = ArtifactPrefix("team", name, f"{name:0<8}-uid", 1)
        key = prefix.file(layout.index_file(layout.sample_file("mme")))
        if content is None:
            del self.store.objects[key]
        else:
            self.store.objects[key] = content

    @staticmethod
    def _average(samples: list[dict[str, Any]]) -> float:
        numbers = [float(sample["acc"]) for sample in samples if sample["acc"] is not None]
        return sum(numbers) / len(numbers) if numbers else 0.0

    def open(self, authenticator: Authenticator | None = None) -> httpx.AsyncClient:
        chosen = ApiSettings(auth=AuthMode.NONE, hosts=("front-end",))
        reflector = Reflector(NO_JOBS, EVALUATIONS, self.cache, self.cache.project)
        reflector.synced.set()
        reflector._watching = True
        archive = Archive(NO_JOBS, self.store, chosen, *WORKERS)
        backend = Backend(EvaluationService(NO_JOBS, self.cache), reflector, JobFeeds(self.cache), archive, 60)
        app = make_application(chosen, backend, authenticator or AnonymousAccess())
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://front-end")


class Rights:
    """Knows one caller, who may read some jobs."""

    instructions = ""

    def __init__(self, *names: str) -> None:
        self.names, self.asked = names, list[ResourceAttributes]()

    async def identify(self, authorization: bytes) -> Caller | None:
        return Caller("somebody")

    async def find_refusal(self, caller: Caller, attributes: ResourceAttributes) -> str | None:
        self.asked.append(attributes)
        may = attributes.verb == "get" and attributes.name in self.names
        return None if may else "somebody may not get lmmevaluations"
