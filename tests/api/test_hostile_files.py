"""The worst that a run can leave in the store, asked for over HTTP: the front end answers others meanwhile, within its
memory.
"""

import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from front_end_fixtures import FrontEnd, StartFrontEnd
from indexed_samples import index_pieces
from journal_segments import build_chunk, build_header, name_segment, pack_segment
from s3_fixtures import S3Server

from lmms_eval_api.catalogue.reader import NOT_YET
from lmms_eval_core import layout
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.sample_scoring import SampledTask
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter.content import compressed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

MIB = 1024 * 1024
# The chart's limit on the container, in which the worker process is too.
LIMIT_BYTES = 512 * MIB
# On two idle cores the longest probe was seen to take 61 ms, and 750 ms with the same work in the event loop's own
# process. On a busy machine some take longer, for what else it does; none may wait for a whole piece of work.
QUICK_SECONDS, LONGEST_SECONDS = 0.1, 0.5
SLOW_SHARE, SLOW_ALWAYS = 0.1, 2
LINES = {"Accept": "application/x-ndjson"}
IMAGE = "0123abcd"

GOOD_RESULTS = b'{"results": {"mme": {"acc,none": 1.0}}}'
SAMPLES: dict[str, bytes] = {
    "escapes": b'NaN "' + b'\\"' * 150_000 + b"\n",
    "many-escapes": (b'NaN "' + b'\\"' * (4 * MIB - 10) + b"\n") * 3,
    "base64": (b'{"image": "' + b"QUJDNaN/" * (7 * MIB // 8) + b'"}\n') * 4,
    "values": (b"[" + b"1," * (4 * MIB - 5) + b"1]\n") * 3,
    "nan": (b"[" + b"NaN," * (2 * MIB - 5) + b"1]\n") * 2,
    "deep": (b"[" * (8 * MIB - 1) + b"\n") * 3,
    "digits": (b"9" * (8 * MIB - 1) + b"\n") * 3,
    "empty": b"\n" * 64 * MIB,
    "short": b"1\n" * 32 * MIB,
    "one-line": b"x" * 256 * MIB,
    "emoji": ('{"a": "' + "\U0001f600" * MIB + '"}\n').encode() * 3,
}
# Those that the reporter passes on line by line; the others it leaves out.
INDEXED = ("escapes", "base64", "values", "deep", "digits", "emoji")
RESULTS: dict[str, tuple[bytes, int]] = {
    "escapes": (b'NaN "' + b'\\"' * (7 * MIB), 502),
    "a-million-tasks": (b'{"results": {' + b",".join(b'"%d":{}' % number for number in range(1_200_000)) + b"}}", 502),
    "deep": (b'{"results": ' + b"[" * (15 * MIB), 502),
    "nan": (b'{"results": {}, "x": [' + b"NaN," * 450_000 + b"1]}", 200),
    "digits": (b'{"results": {}, "x": ' + b"9" * (15 * MIB) + b"}", 200),
    "text": (b'{"results": {"mme": {"acc,none": NaN}}, "x": "' + b'\\"' * (7 * MIB) + b'"}', 200),
    "rows": (json.dumps({"results": {f"t{n}" * 20: {"a,none": 1, "b,none": 2} for n in range(19_000)}}).encode(), 200),
}


JOURNALS: dict[str, list[bytes]] = {
    "bomb": [bytes(1024 * MIB)],
    "values": [b'{"b":[' + b"1," * (7 * MIB) + b"1]}\n"],
    "deep": [b'{"b":' + b"[" * (15 * MIB) + b"\n"],
    "batches": [
        b'{"b":['
        + b",".join(b'{"id":"%020x","a":[{"t":"mme"}]}' % number for number in range(15_000))
        + b'],"at":1.0,"s":1.0}\n'
    ],
    "one-batch": [build_chunk(range(15_000), batch=15_000)],
    "next": [b'{"n":[]}\n' * 300_000],
    "control": [build_chunk([number], s="\x01" * (2 * MIB)) for number in range(8)],
    "long": [build_chunk([number], s="x" * (15 * MIB)) for number in range(2)],
    "packed": [build_chunk([number], s=None, j=[["x" * 1000]] * 10_000) for number in range(2)],
    "no-lines": [b"x" * (64 * MIB)],
}


@dataclass
class Watched:
    """What was seen of the front end meanwhile."""

    front_end: FrontEnd
    seconds: list[float] = field(default_factory=list)
    bytes: int = 0

    def look(self, connection: HTTPConnection) -> None:
        began = time.perf_counter() - self.waited()
        connection.request("GET", "/livez")
        assert connection.getresponse().read()
        self.seconds.append(time.perf_counter() - self.waited() - began)
        self.bytes = max(self.bytes, memory(self.front_end.process.pid))

    def waited(self) -> float:
        """How long the event loop and we have been kept waiting for a processor by others; that is not its work."""
        return waited_for_processor(self.front_end.process.pid) + waited_for_processor(threading.get_native_id())

    def judge(self, what: str) -> None:
        assert self.front_end.process.poll() is None, what
        assert self.bytes < LIMIT_BYTES, f"{what}: {self.bytes // MIB} MiB"
        slow = [seconds for seconds in self.seconds if seconds > QUICK_SECONDS]
        assert max(self.seconds) < LONGEST_SECONDS, f"{what}: a probe took {max(self.seconds):.1f} s"
        assert len(slow) <= SLOW_SHARE * len(self.seconds) + SLOW_ALWAYS, (
            f"{what}: {len(slow)} of {len(self.seconds)} probes were slow"
        )


def waited_for_processor(thread: int) -> float:
    return int(Path(f"/proc/{thread}/schedstat").read_text().split()[1]) / 1e9


def memory(pid: int) -> int:
    """Of a process and its children, each page that they share in its parts."""
    total = 0
    for one in (pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())):
        try:
            found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{one}/smaps_rollup").read_text(), re.MULTILINE)
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(found[1]) * 1024 if found else 0
    return total


@contextmanager
def watched(front_end: FrontEnd, what: str) -> Iterator[None]:
    """Others ask meanwhile whether it lives."""
    seen, done = Watched(front_end), threading.Event()

    def look() -> None:
        with closing(HTTPConnection(front_end.url.removeprefix("http://"), timeout=60)) as connection:
            while not done.is_set():
                seen.look(connection)
                time.sleep(0.01)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    seen.judge(what)


def ask(front_end: FrontEnd, path: str, headers: dict[str, str] | None = None) -> int:
    """Reads the whole answer, keeps nothing of it, and gives its status."""
    with front_end.session() as session, session.stream("GET", path, headers=headers, timeout=60) as answer:
        for _ in answer.iter_raw():
            pass
        return answer.status_code


@dataclass
class Scene:
    """A front end with a store, and completed jobs whose files can be put there."""

    front_end: FrontEnd
    client: Transport
    store: ObjectStore

    async def complete(
        self,
        name: str,
        *,
        results: bytes = GOOD_RESULTS,
        samples: dict[str, bytes],
        log: bytes = b"",
        indexed: bool = False,
    ) -> None:
        with self.front_end.session() as session:
            session.post("/evaluate", json={"model": "llava_hf", "tasks": ["mme"], "name": name}).raise_for_status()
        uid = (await self.client.get(EVALUATIONS, name))["metadata"]["uid"]
        prefix = ArtifactPrefix(self.client.namespace, name, uid, 1)
        await self.store.put(prefix.file(layout.RESULTS_FILE), results)
        await self.store.put(prefix.file(layout.LOG_FILE), packed(log))
        for task, content in samples.items():
            file = layout.sample_file(task)
            if indexed:
                stored = index_pieces([content], SampledTask())
                await self.store.put(prefix.file(file), stored.samples)
                await self.store.put(prefix.file(layout.index_file(file)), stored.index)
            else:
                await self.store.put(prefix.file(file), packed(content))
        files = [layout.RESULTS_FILE, layout.LOG_FILE, *map(layout.sample_file, samples)]
        artifacts = {"uri": f"s3://artifacts/{prefix.path}", "files": [{"name": file, "bytes": 1} for file in files]}
        await self.become(name, phase="Running", reason="Evaluating", attempt=1, artifacts=artifacts)
        await self.become(name, phase="Completed", reason="Succeeded")
        until(lambda: self.status(name) == "completed")

    async def run(self, name: str, journal: list[bytes]) -> None:
        """Make a job that is in its second attempt, with the same journal in both."""
        with self.front_end.session() as session:
            session.post(
                "/evaluate", json={"model": "llava_hf", "tasks": ["mme", "b"], "name": name}
            ).raise_for_status()
        uid = (await self.client.get(EVALUATIONS, name))["metadata"]["uid"]
        for attempt in (1, 2):
            prefix = ArtifactPrefix(self.client.namespace, name, uid, attempt)
            await self.store.put(name_segment(prefix), pack_segment([build_header(attempt), *journal]))
        await self.become(name, phase="Running", reason="Evaluating", attempt=2)
        until(lambda: self.status(name) == "running")

    async def become(self, name: str, **status: Any) -> None:
        patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in status.items()]
        await self.client.json_patch(EVALUATIONS, name, patch, subresource="status")

    def has_status(self, name: str, status: str) -> bool:
        return bool(self.status(name) == status)

    def status(self, name: str) -> Any:
        """From the list: an answer about one job would read its files."""
        with self.front_end.session() as session:
            return {job["job_id"]: job["status"] for job in session.get("/jobs").json()["jobs"]}.get(name)


def packed(content: bytes) -> bytes:
    return b"".join(compressed(content[at : at + MIB] for at in range(0, len(content), MIB)))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def scene(start_front_end: StartFrontEnd, s3_server: S3Server, client: Transport) -> Scene:
    front_end = start_front_end(**s3_server.environment())
    front_end.wait_until_ready()
    return Scene(front_end, client, ObjectStore(StoreSettings.from_environment(s3_server.environment())))


async def test_a_page_of_samples(scene: Scene) -> None:
    await scene.complete("a", samples=SAMPLES)
    for task in SAMPLES:
        for query in ("", "?filter=wrong", "?filter=empty"):
            path = f"/jobs/a/samples/{task}{query}"
            with watched(scene.front_end, path):
                assert ask(scene.front_end, path) == 200


async def test_samples_by_their_index(scene: Scene) -> None:
    await scene.complete("a", samples={task: SAMPLES[task] for task in INDEXED}, indexed=True)
    for task in INDEXED:
        for query in ("", "?filter=wrong&limit=200", "?sort=-length", "?q=needle"):
            path = f"/jobs/a/explore/{task}{query}"
            with watched(scene.front_end, path):
                assert ask(scene.front_end, path) == 200


async def test_whole_files_of_samples(scene: Scene) -> None:
    await scene.complete("a", samples=SAMPLES)
    for task in SAMPLES:
        with watched(scene.front_end, task):
            assert ask(scene.front_end, f"/jobs/a/samples/{task}", LINES) == 200
    for task in ("values", "deep", "emoji"):
        with watched(scene.front_end, f"{task}, filtered"):
            assert ask(scene.front_end, f"/jobs/a/samples/{task}?filter=empty", LINES) == 200


async def test_the_first_samples_of_each_task(scene: Scene) -> None:
    await scene.complete("a", samples=SAMPLES)
    with watched(scene.front_end, "include=samples"):
        assert ask(scene.front_end, "/jobs/a?include=samples") == 200


async def test_results(scene: Scene) -> None:
    for name, (results, _) in RESULTS.items():
        await scene.complete(name, results=results, samples={"mme": b"{}\n"})
    for name, (_, status) in RESULTS.items():
        with watched(scene.front_end, name):
            assert ask(scene.front_end, f"/jobs/{name}") == 200
            assert ask(scene.front_end, f"/jobs/{name}/results") == status
            assert ask(scene.front_end, f"/jobs/{name}/samples/mme?filter=wrong") == status
    with watched(scene.front_end, "all at once"):
        asking = [threading.Thread(target=ask, args=(scene.front_end, f"/jobs/{name}")) for name in [*RESULTS] * 10]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()


async def test_answers(scene: Scene) -> None:
    for name, lines in JOURNALS.items():
        await scene.run(name, lines)
    for name in JOURNALS:
        for path in (f"/jobs/{name}/samples/mme?live=true", f"/jobs/{name}/samples/mme?live=true&filter=empty"):
            with watched(scene.front_end, path):
                assert ask(scene.front_end, path) == 200
        with watched(scene.front_end, f"{name}, whole"):
            assert ask(scene.front_end, f"/jobs/{name}/samples/mme?live=true", LINES) == 200
    for name in JOURNALS:
        await scene.become(name, phase="Cancelled", reason="CancelledByUser")
        until(functools.partial(scene.has_status, name, "cancelled"))
        with watched(scene.front_end, f"{name}, followed"):
            assert ask(scene.front_end, f"/jobs/{name}/samples/mme/events") == 200


async def test_the_last_lines_of_a_log(scene: Scene) -> None:
    for name, log in {"no-lines": b"x" * 64 * MIB, "all-lines": b"\n" * 64 * MIB}.items():
        await scene.complete(name, samples={}, log=log)
        with watched(scene.front_end, name):
            assert ask(scene.front_end, f"/jobs/{name}/logs?tail=10000") == 200


@pytest.mark.parametrize(
    "content",
    [
        b'{"tasks": [' + b'{"name":"a","kind":"task"},' * 500_000 + b'{"name":"a","kind":"task"}], "models": []}',
        b"[" * 15 * MIB,
        json.dumps(
            {"tasks": [{"name": f"{'t' * 60}{n}", "kind": "task"} for n in range(15_000)], "models": []}
        ).encode(),
    ],
    ids=["entries", "deep", "large"],
)
async def test_a_catalogue(start_front_end: StartFrontEnd, s3_server: S3Server, namespace: str, content: bytes) -> None:
    store = ObjectStore(StoreSettings.from_environment(s3_server.environment()))
    front_end = start_front_end(**s3_server.environment(), LMMS_EVAL_CATALOGUE=IMAGE)
    front_end.wait_until_ready()
    with watched(front_end, "a catalogue"), front_end.session() as session:
        await store.put(f"{namespace}/{layout.catalogue_file(IMAGE)}", content)
        until(lambda: session.get("/tasks").json().get("error") != NOT_YET)
        for query in ("", "?q=T", "?q=t&details=true"):
            assert ask(front_end, f"/tasks{query}") == 200
