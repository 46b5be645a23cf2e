"""Journals as the runner writes them, a store in a folder that can be away, and an API server with one evaluation.

With these a whole session of the reporter runs in the test's own process.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from lmms_eval_core.journal import MAX_JOURNAL_BYTES, MAX_RANKS, JournalName
from lmms_eval_core.kube.client import Object, Patch, Resource
from lmms_eval_core.kube.errors import Conflict
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.run import HarnessArguments, RunInput
from lmms_eval_core.store.compression import zstd
from lmms_eval_core.store.errors import Unreachable
from lmms_eval_core.store.objects import ObjectStore, StoredObject
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter.journal_segments import Room
from lmms_eval_reporter.journal_upload import JournalUploader
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import Backoff
from lmms_eval_reporter.run_directory import RunDirectory

UID = "0f4c6a1e-9d3b-4c2f-8a57-1c2d3e4f5a6b"


def make_header(attempt: int = 1, rank: int = 0) -> bytes:
    """Return the first line of a file."""
    return b'{"v":1,"header":{"attempt":%d,"rank":%d,"parts":{"run":"same"}}}\n' % (attempt, rank)


def make_chunk(first: int, answers: int = 1, *, text: str = "yes", **shown: str) -> bytes:
    """Return the line of a chunk, each answer a batch; `p` and `g` are prompt and target."""
    batches = [
        {"id": f"{number:020x}", "a": [{"t": "mme", "d": number, "s": text} | shown]}
        for number in range(first, first + answers)
    ]
    return json.dumps({"b": batches, "at": 1.5, "s": 0.25}, separators=(",", ":")).encode() + b"\n"


def make_lines(attempt: int, answers: int) -> bytes:
    """Return a whole file: a header, and chunks of one answer."""
    return make_header(attempt) + b"".join(make_chunk(number) for number in range(answers))


def unpack(content: bytes) -> bytes:
    """Return the lines of a segment."""
    return zstd.ZstdFile(io.BytesIO(content)).read()


def make_run_input(attempt: int = 1, **changes: Any) -> RunInput:
    """Return what the operator tells the pod."""
    harness = HarnessArguments(model="m", tasks=["mme"], log_samples=changes.pop("log_samples", True))
    return RunInput(namespace="team", name="nightly", uid=UID, attempt=attempt, harness=harness, gpus=2, **changes)


def make_prefix(attempt: int = 1) -> ArtifactPrefix:
    """Return where that attempt's files are."""
    return ArtifactPrefix("team", "nightly", UID, attempt)


class FolderStore(ObjectStore):
    """A store in a folder; while `is_away` it does not answer for keys with `away_at` in them.

    Writes of such keys wait for `released`, and arrive then even where their caller is gone. `puts` are the keys that
    were written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(StoreSettings(url=f"file://{folder}"))
        self.is_away = False
        self.away_at = ""
        self.puts: list[str] = []
        self.released = asyncio.Event()
        self.released.set()

    async def put(self, key: str, content: bytes | AsyncIterator[bytes]) -> None:
        """Write an object."""
        self._require(key)
        self.puts.append(key)
        await asyncio.shield(asyncio.ensure_future(self._put_when_released(key, content)))

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        """Read an object."""
        self._require(key)
        return await super().get(key, max_bytes=max_bytes)

    async def head(self, key: str) -> StoredObject:
        """Look at an object."""
        self._require(key)
        return await super().head(key)

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """List objects."""
        self._require(prefix)
        async for entry in super().list(prefix):
            yield entry

    async def _put_when_released(self, key: str, content: bytes | AsyncIterator[bytes]) -> None:
        if self.away_at in key:
            await self.released.wait()
        await super().put(key, content)

    def _require(self, key: str) -> None:
        if self.is_away and self.away_at in key:
            raise Unreachable("the store does not answer")


async def list_segments(store: FolderStore, attempt: int = 1) -> list[str]:
    """Return the names of an attempt's segments, whether the store is away or not."""
    folder = make_prefix(attempt).file("journal/")
    return sorted([entry.key.removeprefix(folder) async for entry in ObjectStore.list(store, folder)])


async def read_journal(store: FolderStore, name: JournalName) -> bytes:
    """Return what is stored of a journal file."""
    own = [found for found in await list_segments(store, name.attempt) if found.startswith(f"{name}-")]
    keys = [make_prefix(name.attempt).file(f"journal/{found}") for found in own]
    return b"".join([unpack(await ObjectStore.get(store, key, max_bytes=2**30)) for key in keys])


async def store_journal(store: FolderStore, name: JournalName, *segments: bytes) -> None:
    """Store segments as the reporter of an earlier attempt did."""
    for number, lines in enumerate(segments):
        key = make_prefix(name.attempt).file(f"journal/{name}-{number:04d}.zst")
        await ObjectStore.put(store, key, zstd.compress(lines))


class OneEvaluation:
    """A client of an API server that has one evaluation, whose attempt runs."""

    namespace = "team"

    def __init__(self, attempt: int = 1) -> None:
        self.object: Object = {
            "apiVersion": "lmms-eval.io/v1alpha1",
            "kind": "LMMEvaluation",
            "metadata": {"name": "nightly", "uid": UID},
            "spec": {"model": "m", "tasks": ["mme"]},
            "status": {"attempt": attempt, "phase": "Running"},
        }
        self.written: list[dict[str, Any]] = []

    async def get(self, resource: Resource, name: str) -> Object:
        """Read the evaluation."""
        return self.object

    async def json_patch(self, resource: Resource, name: str, patch: Patch, *, subresource: str = "") -> Object:
        """Apply the reporter's patch, with its precondition."""
        for step in patch:
            _, part, field = step["path"].split("/")
            if step["op"] == "test" and self.object[part].get(field) != step["value"]:
                raise Conflict("the precondition failed")
        for step in patch:
            if step["op"] == "add":
                self.object["status"][step["path"].split("/")[2]] = step["value"]
        self.written.append(dict(self.object["status"]))
        return self.object


class RecordedLog(ReporterLog):
    """A log whose events a test reads."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        super().__init__(self._text)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was logged."""
        return [json.loads(line) for line in self._text.getvalue().splitlines()]

    def errors(self, event: str) -> list[str]:
        """Return the errors of an event."""
        return [line["error"] for line in self.events if line["event"] == event]


async def ignore_failure(error: Exception) -> None:
    """Do nothing."""
    await asyncio.sleep(0)


class JournalRun:
    """A run directory with the folder of journals, and its uploader."""

    def __init__(
        self,
        path: Path,
        *,
        attempt: int = 1,
        ranks: int = MAX_RANKS,
        room: int = MAX_JOURNAL_BYTES,
        shown: bool = True,
    ) -> None:
        self.journal = path / f"run-{attempt}" / "journal"
        self.journal.mkdir(parents=True)
        self.store = FolderStore(path / "store")
        self.log = RecordedLog()
        self.uploader = JournalUploader(
            RunDirectory(self.journal.parent),
            self.store,
            make_prefix(attempt),
            ranks=ranks,
            room=Room(room),
            shown=shown,
            backoff=Backoff(self.log, ignore_failure, first_seconds=0.01),
            log=self.log,
        )

    def append(self, content: bytes, name: JournalName | None = None) -> None:
        """Add to a file, that of rank 0 if no other is named."""
        with (self.journal / str(name or JournalName(1, 0))).open("ab") as stream:
            stream.write(content)

    async def upload(self) -> list[str]:
        """Upload, and return what is stored."""
        await self.uploader.upload()
        return await list_segments(self.store)

    @property
    def problems(self) -> list[str]:
        """Why files were read no further."""
        return self.log.errors("journal ends here")
