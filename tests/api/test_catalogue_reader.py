"""The catalogue on its way from a real S3 server into a front end and its answers."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from front_end_fixtures import FrontEnd, StartFrontEnd
from s3_fixtures import S3Server

from lmms_eval_api.catalogue import reader as catalogue_reader
from lmms_eval_api.catalogue.reader import BROKEN, NONE, NOT_YET, UNREADABLE, CatalogueReader
from lmms_eval_core import layout
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_core.wire import EvaluateRequest

IMAGE = "0123abcd"
KEY = f"team/{layout.catalogue_file(IMAGE)}"
REQUEST = EvaluateRequest(model="nobodys", tasks=["nothing"])


def content(*tasks: str) -> bytes:
    listed = [{"name": name, "kind": "task"} for name in tasks]
    return json.dumps({"tasks": listed, "models": [{"name": "llava_hf"}]}).encode()


def said(reader: CatalogueReader) -> Any:
    return json.loads(reader.list_tasks().body)


async def test_an_installation_without_a_catalogue_says_so_and_looks_for_none() -> None:
    for reader in (CatalogueReader(), CatalogueReader(None, namespace="team", image=IMAGE)):
        await reader.run()
        assert said(reader) == {"tasks": [], "error": NONE}
        assert json.loads(reader.list_models(q="x", details=True).body) == {"models": [], "error": NONE}
        assert reader.list_warnings(REQUEST) == []


@pytest.fixture
def store(s3_server: S3Server) -> ObjectStore:
    return ObjectStore(replace(StoreSettings.from_environment(s3_server.environment()), retry_seconds=0.5))


@pytest.fixture
def reader(store: ObjectStore) -> CatalogueReader:
    return CatalogueReader(store, namespace="team", image=IMAGE)


@pytest.mark.integration
async def test_it_is_read_when_it_comes_and_again_when_it_changes(store: ObjectStore, reader: CatalogueReader) -> None:
    await reader.refresh(store)
    assert said(reader) == {"tasks": [], "error": NOT_YET}
    assert reader.list_warnings(REQUEST) == []
    for tasks in (["mme"], ["mme", "mmmu"]):
        await store.put(KEY, content(*tasks))
        await reader.refresh(store)
        assert said(reader) == {"tasks": tasks}
    assert len(reader.list_warnings(REQUEST)) == 2


@pytest.mark.integration
async def test_what_was_read_is_not_read_again(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    class Listening(ObjectStore):
        async def get(self, key: str, *, max_bytes: int) -> bytes:
            read.append(key)
            return await super().get(key, max_bytes=max_bytes)

    monkeypatch.setattr(store, "__class__", Listening)
    reader = CatalogueReader(store, namespace="team", image=IMAGE)
    for sent in (b"not json", content("mme")):
        await store.put(KEY, sent)
        for _ in range(3):
            await reader.refresh(store)
    assert read == [KEY, KEY]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (b"", BROKEN),
        (b"not json", BROKEN),
        (b'{"tasks": ["mme"], "models": []}', BROKEN),
        (b"[" * 100_000, BROKEN),
        (b"\xff\xfe", BROKEN),
        (b" " * 1001, UNREADABLE),
    ],
    ids=["empty", "words", "another shape", "deep", "no text", "too large"],
)
async def test_one_that_cannot_be_used_is_said_and_keeps_nobody_from_a_good_one(
    store: ObjectStore, reader: CatalogueReader, monkeypatch: pytest.MonkeyPatch, sent: bytes, sentence: str
) -> None:
    monkeypatch.setattr(catalogue_reader, "MAX_CATALOGUE_BYTES", max(1000, len(sent) if sentence == BROKEN else 0))
    await store.put(KEY, sent)
    await reader.refresh(store)
    assert said(reader) == {"tasks": [], "error": sentence}
    await store.put(KEY, content("mme"))
    await reader.refresh(store)
    assert said(reader) == {"tasks": ["mme"]}


@pytest.mark.integration
async def test_what_was_read_once_stays_whatever_becomes_of_the_store(
    store: ObjectStore, reader: CatalogueReader, s3_server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    await store.put(KEY, content("mme"))
    await reader.refresh(store)
    await store.put(KEY, b"not json any more")
    await reader.refresh(store)
    await store.delete([KEY])
    await reader.refresh(store)
    s3_server.stop()
    for _ in range(2):
        await reader.refresh(store)
    assert said(reader) == {"tasks": ["mme"]}
    # Each trouble once, and never a secret.
    assert [record.message for record in caplog.records].count("the catalogue cannot be read") == 2
    assert s3_server.secret_key not in caplog.text


@pytest.fixture
def ready(start_front_end: StartFrontEnd, s3_server: S3Server) -> FrontEnd:
    """A front end that waits for its catalogue."""
    running = start_front_end(LMMS_EVAL_CATALOGUE=IMAGE, **s3_server.environment())
    running.wait_until_ready()
    return running


@pytest.mark.integration
async def test_a_front_end_lists_what_the_image_knows_from_the_moment_it_is_there(
    ready: FrontEnd, store: ObjectStore, namespace: str
) -> None:
    with ready.session() as session:
        for path, key in (("/tasks", "tasks"), ("/models", "models")):
            answer = session.get(path)
            assert (answer.status_code, answer.json()) == (200, {key: [], "error": NOT_YET})
        await store.put(f"{namespace}/{layout.catalogue_file(IMAGE)}", content("mme", "mmmu"))
        answer = listed(session)
        assert answer.json() == {"tasks": ["mme", "mmmu"]}
        assert answer.headers["Content-Type"] == "application/json"
        assert session.get("/models").json() == {"models": ["llava_hf"], "unavailable": {}, "needs_remote_code": []}
        assert session.get("/tasks", params={"q": "U", "details": "true"}).json()["tasks"][0]["name"] == "mmmu"
        assert session.get("/tasks", params={"q": "x" * 201}).status_code == 422
        again = session.get("/tasks", headers={"If-None-Match": f'"other", W/{answer.headers["ETag"]}'})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", answer.headers["ETag"])
        warned = session.post("/evaluate", json={"model": "llava_hf", "tasks": ["mme", "mmmmu"]}).json()["warnings"]
        assert warned == [
            "The evaluator image knows no task 'mmmmu'. Did you mean mmmu? GET /tasks lists those it knows."
        ]
    with ready.session("wrong") as stranger:
        assert [stranger.get(path).status_code for path in ("/tasks", "/models")] == [401, 401]


def listed(session: httpx.Client) -> httpx.Response:
    deadline = time.monotonic() + 60
    while "error" in (answer := session.get("/tasks")).json():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


@pytest.mark.integration
def test_a_store_that_is_away_is_said_and_keeps_no_front_end_from_its_work(
    start_front_end: StartFrontEnd, s3_server: S3Server, tmp_path: Path
) -> None:
    s3_server.stop()
    running = start_front_end(LMMS_EVAL_CATALOGUE=IMAGE, **s3_server.environment())
    running.wait_until_ready()
    with running.session() as session:
        deadline = time.monotonic() + 60
        while session.get("/tasks").json() != {"tasks": [], "error": UNREADABLE}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert session.get("/queue").status_code == 200
    assert running.stop() == 0
