"""An API server, Job controller and kubelet in memory, for the operator's property tests: many interleavings a second.

`FakeKubeClient` implements `KubeClient`. Controllers, scheduler and kubelet do something only when a test says so, in
any order, so that the operator meets stale watches, slow controllers and a second operator. The integration tests use
the real API server.
"""

import types
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from crd_samples import build_schema
from jsonschema import Draft4Validator
from pydantic_core import from_json, to_json

from lmms_eval_core import names
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import (
    EVALUATIONS,
    EVENTS,
    JOBS,
    LEASES,
    PODS,
    Object,
    ObjectList,
    ObjectPage,
    Patch,
    Resource,
    WatchEvent,
)
from lmms_eval_core.phases import Phase, can_follow

ENDED = ("Succeeded", "Failed")
# OpenAPI 3.0 writes exclusive bounds as draft 4 does.
STATUS = Draft4Validator(build_schema()["properties"]["status"])
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
GROUPS = (EVALUATIONS, JOBS, PODS, LEASES, EVENTS)


def copy_json(value: Any) -> Any:
    """Return a deep copy, as what is sent and read again; the copies are a third of the property tests' time."""
    return from_json(to_json(value))


@dataclass
class FakeCluster:
    """All objects, the log of their changes, and what a test sets: time, admission, late controllers."""

    objects: dict[Resource, dict[str, Object]] = field(default_factory=lambda: {resource: {} for resource in GROUPS})
    log: list[tuple[Resource, bool, Object]] = field(default_factory=list)
    now: float = 1000.0
    writes: int = 0
    version: int = 100
    made: int = 0
    # Jobs of which the controller may still create a pod from its cache, though they are gone: a webhook may take its
    # time.
    vanished_jobs: list[Object] = field(default_factory=list)
    # What the cluster's policies say to a Job; None lets it pass.
    job_admission: Callable[[Object], errors.KubeError | None] = lambda job: None
    offered_jobs: list[str] = field(default_factory=list)

    def time(self) -> datetime:
        """Return the time of day."""
        return EPOCH + timedelta(seconds=self.now)

    # The API server.

    def get(self, resource: Resource, name: str) -> Object:
        if name not in self.objects[resource]:
            raise errors.NotFound(f"{resource.plural} {name} not found")
        found: Object = copy_json(self.objects[resource][name])
        return found

    def list_objects(self, resource: Resource, labels: str, fields: str) -> ObjectList:
        found = [
            item
            for item in self.objects[resource].values()
            if _selected(item, labels) and _field_selected(item, fields)
        ]
        return ObjectList(copy_json(found), str(self.version))

    def create(self, resource: Resource, body: Object) -> Object:
        name = body["metadata"]["name"]
        if name in self.objects[resource]:
            raise errors.AlreadyExists(f"{name} exists")
        if resource is JOBS:
            self._admit(body)
        self.made += 1
        item = copy_json(body)
        item["metadata"] |= {
            "uid": f"{self.made:08x}-uid",
            "creationTimestamp": f"2026-01-01T00:{self.made // 60:02}:{self.made % 60:02}Z",
        }
        if resource is EVALUATIONS:
            item.setdefault("status", {"phase": "Queued", "reason": "WaitingForTurn"})
        return self.store(resource, item)

    def _admit(self, job: Object) -> None:
        self.offered_jobs.append(job["metadata"]["labels"][names.LABEL_EVALUATION])
        if error := self.job_admission(job):
            raise error

    def store(self, resource: Resource, item: Object) -> Object:
        """Store a new state of an object, under the next version."""
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.objects[resource][item["metadata"]["name"]] = item
        self.log.append((resource, False, copy_json(item)))
        found: Object = copy_json(item)
        return found

    def patch(self, resource: Resource, name: str, patch: Patch) -> Object:
        after = apply_patch(self.get(resource, name), patch)
        before = self.objects[resource][name]
        if after == before:
            # The API server, too, writes nothing then, and the version stays.
            return after
        if resource is EVALUATIONS and not can_follow(
            Phase(before["status"]["phase"]), Phase(after["status"]["phase"])
        ):
            raise AssertionError(f"{name}: {before['status']} became {after['status']}")
        if resource is EVALUATIONS and (wrong := next(STATUS.iter_errors(after["status"]), None)):
            raise errors.Invalid(
                f"{name} is invalid: status: {wrong.message[:200]}", {"details": {"causes": [{"field": "status"}]}}
            )
        return self.store(resource, after)

    def delete(self, resource: Resource, name: str, uid: str, version: str = "") -> None:
        item = self.get(resource, name)
        if item["metadata"]["uid"] != uid:
            raise errors.Conflict(f"{name} is another one")
        if version and item["metadata"]["resourceVersion"] != version:
            raise errors.Conflict(f"{name} has changed")
        if resource is PODS and item["status"]["phase"] not in ENDED and (is_bound(item) or self._controlled(item)):
            item["metadata"]["deletionTimestamp"] = "now"
            self.store(resource, item)
        else:
            self.remove(resource, name)

    def remove(self, resource: Resource, name: str) -> None:
        """Remove an object at once; `collect_garbage` removes what it owned."""
        item = self.objects[resource].pop(name)
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.log.append((resource, True, item))
        if resource is JOBS and not item.get("status"):
            self.vanished_jobs.append(item)

    def collect_garbage(self) -> None:
        """Delete objects whose owner is gone, as the garbage collector does."""
        for kind, owners in ((JOBS, EVALUATIONS), (PODS, JOBS)):
            uids = {owner["metadata"]["uid"] for owner in self.objects[owners].values()}
            for name, owned in list(self.objects[kind].items()):
                if owned["metadata"]["ownerReferences"][0]["uid"] not in uids:
                    self.delete(kind, name, owned["metadata"]["uid"])

    # Job controller, scheduler and kubelet.

    def list_pods_of(self, job: Object) -> "list[Object]":
        owner = job["metadata"]["uid"]
        return [pod for pod in self.objects[PODS].values() if pod["metadata"]["ownerReferences"][0]["uid"] == owner]

    def control_job(self, job: Object) -> None:
        """Let the Job controller look at a Job once."""
        pods = self.list_pods_of(job)
        ended = [pod for pod in pods if pod["status"]["phase"] in ENDED]
        if job.get("status"):
            return
        if ended:
            job["status"] = {"failed" if ended[0]["status"]["phase"] == "Failed" else "succeeded": 1}
            self.store(JOBS, job)
            self._remove_leftovers(pods)
        elif any("deletionTimestamp" in pod["metadata"] and not is_bound(pod) for pod in pods):
            job["status"] = {"failed": 1}
            self.store(JOBS, job)
            self._remove_leftovers(pods)
        elif not pods:
            self.create_pod(job)

    def _remove_leftovers(self, pods: "list[Object]") -> None:
        for pod in pods:
            if not is_bound(pod) and pod["metadata"]["name"] in self.objects[PODS]:
                self.remove(PODS, pod["metadata"]["name"])

    def _controlled(self, pod: Object) -> bool:
        """Return whether the pod's Job exists and has not ended.

        Then the controller's finalizer keeps a deleted pod until the controller has seen it.
        """
        owner = next((job for job in self.objects[JOBS].values() if job in _owners(pod, self.objects[JOBS])), None)
        return owner is not None and not owner.get("status")

    def create_pod(self, job: Object) -> Object:
        self.made += 1
        template = job["spec"]["template"]
        owner = {"uid": job["metadata"]["uid"], "controller": True}
        name, labels = f"{job['metadata']['name']}-{self.made}", template["metadata"]["labels"]
        metadata = {"name": name, "uid": f"{self.made:08x}-uid", "labels": labels, "ownerReferences": [owner]}
        spec = {"schedulingGates": template["spec"]["schedulingGates"]}
        return self.store(PODS, {"metadata": metadata, "spec": copy_json(spec), "status": {"phase": "Pending"}})

    def schedule_pods(self) -> None:
        """Let the scheduler bind every pod that has no gate."""
        for pod in list(self.objects[PODS].values()):
            if not (is_bound(pod) or pod["spec"]["schedulingGates"] or "deletionTimestamp" in pod["metadata"]):
                pod["spec"]["nodeName"] = "n"
                self.store(PODS, pod)

    def run_controllers(self) -> None:
        """Let garbage collector, Job controller and scheduler do all that they can."""
        self.collect_garbage()
        for job in list(self.objects[JOBS].values()):
            self.control_job(job)
        self.schedule_pods()

    def end_pod(self, pod: Object, exit_code: int) -> None:
        """End a pod; remove it if it was deleted."""
        ended = {"name": names.EVALUATOR_CONTAINER, "state": {"terminated": {"exitCode": exit_code}}}
        pod["status"] = {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": [ended]}
        self.store(PODS, pod)
        job = next((job for job in self.objects[JOBS].values() if job in _owners(pod, self.objects[JOBS])), None)
        if job is not None and not job.get("status"):
            self.control_job(job)
        if "deletionTimestamp" in pod["metadata"]:
            self.remove(PODS, pod["metadata"]["name"])

    def publish_scores(self, pod: Object) -> None:
        """Write scores, as the reporter does."""
        self.report_status(pod, {"scores": {"t": {"m": {"value": 1.0}}}})

    def report_status(self, pod: Object, fields: Object) -> None:
        """Write status fields as the reporter does, if the evaluation runs this attempt."""
        labels = pod["metadata"]["labels"]
        found = self.objects[EVALUATIONS].get(labels[names.LABEL_EVALUATION])
        attempt = int(labels[names.LABEL_ATTEMPT])
        if found is None or found["metadata"]["uid"] != labels[names.LABEL_EVALUATION_UID]:
            return
        status = found["status"]
        if status["phase"] == "Running" and status.get("attempt") == attempt:
            status |= {"reportedAttempt": attempt, **fields}
            self.store(EVALUATIONS, found)

    def list_live_pods(self) -> "list[Object]":
        """List pods that have a node and have not ended."""
        return [pod for pod in self.objects[PODS].values() if is_bound(pod) and pod["status"]["phase"] not in ENDED]


def is_bound(pod: Object) -> bool:
    """Return whether the pod has a node."""
    return "nodeName" in pod["spec"]


class FakeKubeClient:
    """`KubeClient` on a `FakeCluster`. Each call pauses before it takes effect, until the test steps it."""

    namespace = "test"

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.pending_write = ""

    async def get(self, resource: Resource, name: str) -> Object:
        await pause()
        return self._cluster.get(resource, name)

    async def list(self, resource: Resource, *, label_selector: str = "", field_selector: str = "") -> ObjectList:
        await pause()
        return self._cluster.list_objects(resource, label_selector, field_selector)

    async def pages(
        self, resource: Resource, *, label_selector: str = "", field_selector: str = "", shares: Sequence[str] = ()
    ) -> AsyncIterator[ObjectPage]:
        await pause()
        found = self._cluster.list_objects(resource, label_selector, field_selector)
        yield ObjectPage(found.items, found.resource_version)

    async def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        made: Object = await self._write(f"create {resource.plural}", lambda: self._cluster.create(resource, body))
        return made

    async def replace(self, resource: Resource, body: Object) -> Object:
        raise NotImplementedError

    async def json_patch(self, resource: Resource, name: str, patch: Patch, *, subresource: str = "") -> Object:
        patched: Object = await self._write(
            f"patch {resource.plural}", lambda: self._cluster.patch(resource, name, patch)
        )
        return patched

    async def delete(
        self, resource: Resource, name: str, *, uid: str, resource_version: str = "", propagation: str = "Background"
    ) -> None:
        what = f"delete {resource.plural}"
        await self._write(what, lambda: self._cluster.delete(resource, name, uid, resource_version))

    def watch(
        self, resource: Resource, *, resource_version: str, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        raise NotImplementedError

    async def pod_log(self, name: str, *, container: str, tail_lines: int) -> str:
        raise NotImplementedError

    def pod_log_stream(
        self, name: str, *, container: str, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def close(self) -> None:
        pass

    async def _write(self, what: str, write: Callable[[], Any]) -> Any:
        self.pending_write = what
        await pause()
        self.pending_write = ""
        answer = write()
        self._cluster.writes += 1
        # And again before the answer is known: what dies or sleeps here has written.
        await pause()
        return answer


@types.coroutine
def pause() -> Generator[None, None, None]:
    """Give control back to whoever steps the coroutine."""
    yield


def apply_patch(item: Object, patch: Patch) -> Object:
    """Apply a JSON Patch (RFC 6902): the operations that the operator uses."""
    for operation in patch:
        *path, last = [part.replace("~1", "/") for part in operation["path"].split("/")[1:]]
        parent: Any = item
        for part in path:
            parent = _child(parent, part)
        if operation["op"] == "test":
            if (found := parent.get(last)) != operation["value"]:
                raise errors.Conflict(f"{operation['path']} is {found!r}, not {operation['value']!r}")
        elif operation["op"] == "remove":
            del parent[int(last) if isinstance(parent, list) else last]
        else:
            parent[last] = copy_json(operation["value"])
    return item


def _child(parent: Any, part: str) -> Any:
    if not isinstance(parent, list):
        return parent.setdefault(part, {})
    if int(part) >= len(parent):
        raise errors.Conflict(f"there is no item {part}")
    return parent[int(part)]


def _owners(item: Object, candidates: dict[str, Object]) -> Iterator[Object]:
    uids = {owner["uid"] for owner in item["metadata"]["ownerReferences"]}
    return (candidate for candidate in candidates.values() if candidate["metadata"]["uid"] in uids)


def _selected(item: Object, selector: str) -> bool:
    labels = item["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in (part.split("=") for part in selector.split(",") if part))


def _field_selected(item: Object, selector: str) -> bool:
    return all(
        item.get("status", {}).get("phase") != part.split("!=")[1]
        for part in selector.split(",")
        if "status.phase" in part
    )
