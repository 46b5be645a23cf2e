"""The object store against a real S3 server: content, ranges, lists; absent, denied, gone and back."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from lmms_eval_core.store import errors
from lmms_eval_core.store.objects import Beginning, ObjectStore
from lmms_eval_core.store.settings import StoreSettings

pytestmark = pytest.mark.integration

MEGABYTE = 1024 * 1024


@pytest.fixture
def settings(s3_server: Any) -> StoreSettings:
    made = StoreSettings.from_environment(s3_server.environment())
    return replace(made, url=f"{made.url}/team", read_seconds=1.0, retry_seconds=0.5)


@pytest.fixture
def store(settings: StoreSettings) -> ObjectStore:
    return ObjectStore(settings)


async def pieces(count: int, *, then: Exception | None = None) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * MEGABYTE
    if then is not None:
        raise then


async def keys(store: ObjectStore, prefix: str) -> list[str]:
    return sorted([entry.key async for entry in store.list(prefix)])


async def test_what_is_put_comes_back(store: ObjectStore) -> None:
    await store.put("a/small.json", b"{}")
    await store.put("a/large.bin", pieces(20))
    assert await store.get("a/small.json", max_bytes=10) == b"{}"
    assert [len(piece) async for piece in store.stream("a/large.bin")] and (
        await store.head("a/large.bin")
    ).size == 20 * MEGABYTE
    assert b"".join([piece async for piece in store.stream("a/large.bin")]) == b"".join(
        [piece async for piece in pieces(20)]
    )
    assert store.uri("a/small.json") == "s3://artifacts/team/a/small.json"


async def test_a_stream_begins_where_it_is_told_to(store: ObjectStore) -> None:
    await store.put("a/large.bin", pieces(3))
    rest = b"".join([piece async for piece in store.stream("a/large.bin", start=2 * MEGABYTE - 1)])
    assert (len(rest), rest[:2]) == (MEGABYTE + 1, b"\x01\x02")
    with pytest.raises(errors.StoreError):
        await anext(store.stream("a/large.bin", start=3 * MEGABYTE))


async def test_an_empty_stream_is_an_empty_object(store: ObjectStore) -> None:
    await store.put("empty", pieces(0))
    assert await store.get("empty", max_bytes=1) == b""


async def test_nothing_is_stored_of_a_stream_that_broke(store: ObjectStore) -> None:
    with pytest.raises(ZeroDivisionError):
        await store.put("half", pieces(20, then=ZeroDivisionError()))
    assert not await store.exists("half")


async def test_beginnings(store: ObjectStore) -> None:
    await store.put("letters", b"abcdef")
    assert await store.begin("letters", length=3) == Beginning(b"abc", 6)
    assert await store.begin("letters", length=99) == Beginning(b"abcdef", 6)
    await store.put("nothing", b"")
    with pytest.raises(errors.StoreError) as caught:
        await store.begin("nothing", length=3)
    assert type(caught.value) is errors.StoreError
    with pytest.raises(errors.ObjectMissing):
        await store.begin("missing", length=3)


async def test_ranges(store: ObjectStore) -> None:
    await store.put("letters", b"abcdef")
    assert await store.range("letters", start=0, length=3) == b"abc"
    assert await store.range("letters", start=2, length=99) == b"cdef"
    with pytest.raises(errors.StoreError):
        await store.range("letters", start=6, length=1)
    assert await store.tail("letters", length=2) == (b"ef", 6)
    assert await store.tail("letters", length=99) == (b"abcdef", 6)
    with pytest.raises(errors.ObjectMissing):
        await store.tail("none", length=1)


async def test_prefixes_are_whole_segments(store: ObjectStore) -> None:
    for key in ("e/a1/x", "e/a1/samples/y", "e/a10/x", "ee/x"):
        await store.put(key, b"1")
    assert await keys(store, "e/a1/") == ["e/a1/samples/y", "e/a1/x"]
    assert await store.delete_prefix("e/a1") == 2
    assert await keys(store, "e") == ["e/a10/x"]
    assert await keys(store, "nothing") == []


async def test_a_folder_shows_what_lies_directly_in_it(store: ObjectStore) -> None:
    assert await store.folder("team") == ([], [])
    for key in ("team/x", "team/a/1", "team/a/b/2", "team/c/3", "teams/d/4", "top"):
        await store.put(key, b"1")
    folders, files = await store.folder("team")
    assert (sorted(folders), files) == (["a", "c"], ["x"])
    assert await store.folder("team/") == (folders, files)
    await store.delete_prefix("team/a")
    assert (await store.folder("team")).folders == ["c"]


async def test_a_folder_of_more_than_a_page(store: ObjectStore) -> None:
    names = [f"f{number}" for number in range(1100)]
    for start in range(0, len(names), 20):
        await asyncio.gather(*(store.put(f"team/{name}/x", b"") for name in names[start : start + 20]))
    assert sorted((await store.folder("team")).folders) == sorted(names)


async def test_deleting_what_is_not_there_is_done(store: ObjectStore) -> None:
    await store.delete([])
    await store.delete(["never", "been"])


async def test_two_may_delete_the_same_at_once(store: ObjectStore) -> None:
    names = [f"a/{number}" for number in range(50)]
    for _ in range(3):
        await asyncio.gather(*(store.put(name, b"1") for name in names))
        await asyncio.gather(*(store.delete(names) for _ in range(3)))
        assert await keys(store, "a") == []


async def test_everything_is_never_a_prefix(store: ObjectStore) -> None:
    with pytest.raises(errors.StoreError, match="refusing"):
        await store.delete_prefix("/")


async def test_a_large_object_is_not_read_at_once(store: ObjectStore) -> None:
    await store.put("large", b"12345")
    with pytest.raises(errors.StoreError, match="5 bytes"):
        await store.get("large", max_bytes=4)


async def test_a_missing_object_is_named(store: ObjectStore) -> None:
    with pytest.raises(errors.ObjectMissing, match="a/b is not in the object store s3://artifacts/team"):
        await store.get("a/b", max_bytes=1)
    assert not await store.exists("a/b")


@pytest.mark.parametrize(("variable", "value"), [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "nobody")])
async def test_wrong_credentials_are_said_and_not_shown(
    settings: StoreSettings, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    store = ObjectStore(settings)
    for call in (store.put("x", b"1"), store.put("x", pieces(1)), store.get("x", max_bytes=1), keys(store, "x")):
        with pytest.raises(errors.Denied, match="refused the credentials") as caught:
            await call
        assert value not in str(caught.value) and caught.value.__cause__ is None and len(str(caught.value)) < 200


async def test_a_missing_bucket_is_said(settings: StoreSettings) -> None:
    store = ObjectStore(replace(settings, url="s3://elsewhere"))
    for call in (
        store.put("x", b"1"),
        store.put("x", pieces(1)),
        store.get("x", max_bytes=1),
        keys(store, "x"),
        store.folder("x"),
        store.delete(["x"]),
    ):
        with pytest.raises(errors.BucketMissing, match="s3://elsewhere at http://.* does not exist"):
            await call


async def test_a_store_that_is_away_and_comes_back(s3_server: Any, store: ObjectStore) -> None:
    s3_server.stop()
    with pytest.raises(errors.Unreachable, match="at http://127.0.0.1:.* does not answer"):
        await store.put("x", pieces(2))
    s3_server.start()
    await store.put("x", pieces(2))
    assert await store.exists("x")


async def test_a_store_that_hangs_is_unreachable_in_time(s3_server: Any, store: ObjectStore) -> None:
    await store.put("x", b"1")
    s3_server.pause()
    started = time.monotonic()
    for call in (store.get("x", max_bytes=1), store.put("y", b"1"), store.put("y", pieces(1))):
        with pytest.raises(errors.Unreachable):
            await asyncio.wait_for(call, 30)
    assert time.monotonic() - started < 60
    s3_server.resume()
    assert await store.get("x", max_bytes=1) == b"1"


@pytest.mark.parametrize("url", ["", "artifacts", "ftp://host/path", "s3://", "az://"])
def test_what_is_no_store_is_refused(settings: StoreSettings, url: str) -> None:
    with pytest.raises(errors.Misconfigured, match="s3://BUCKET/PREFIX"):
        ObjectStore(replace(settings, url=url))


MEMORY = """
import asyncio, os, resource
from lmms_eval_core.store.objects import Beginning, ObjectStore
from lmms_eval_core.store.settings import StoreSettings

async def main():
    async def content():
        for _ in range(300):
            yield bytes(1024 * 1024)
    store = ObjectStore(StoreSettings.from_environment(os.environ))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await store.put("large", content())
    async for piece in store.stream("large"):
        pass
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, flush=True)
    os._exit(0)

asyncio.run(main())
"""


def test_memory_stays_small_whatever_the_size(s3_server: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY],
        env=os.environ | s3_server.environment(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=100,
    )
    assert int(done.stdout) < 80, f"{done.stdout.decode()} MiB for an object of 300"
