"""Media of a run in the pool: what has the digest and the format of its place, within its bounds, and nothing else."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from journal_files import list_segments, make_prefix
from media_files import OWN, MediaRun, hash_file, make_media_line, make_webp

from lmms_eval_core.journal import JournalKind, JournalName
from lmms_eval_core.layout import media_object
from lmms_eval_core.media import MediaOmission, MediaPolicy
from lmms_eval_core.store.errors import Unreachable
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter.retry import time_limit

NEVER = asyncio.Event()


@pytest.fixture
def run(tmp_path: Path) -> MediaRun:
    return MediaRun(tmp_path)


def limit(seconds: float = 20) -> Any:
    return time_limit(seconds, stop=NEVER, grace=0)


async def test_a_picture_is_in_the_pool_before_the_line_that_names_it(run: MediaRun) -> None:
    thumb, display = run.write_image(7)
    await run.uploader.upload()
    keys = [media_object("team", thumb), media_object("team", display)]
    assert sorted(run.store.puts[:2]) == sorted(keys)
    assert run.store.puts[2:] == [make_prefix().file(f"journal/{OWN}-0000.zst")]
    (document,) = await run.read_lines()
    assert (document.task, document.document, document.items[0].digests) == ("mme", 7, [thumb, display])
    assert run.list_left() == []
    assert await ObjectStore.get(run.store, keys[0], max_bytes=10**6) == make_webp(salt="t")


async def test_digests_are_stored_sorted_at_the_end(run: MediaRun) -> None:
    names = [*run.write_image(0), *run.write_image(1, salt="x"), *run.write_image(2)]
    await run.uploader.finish(limit())
    await run.uploader.store_digests(limit())
    assert await run.read_digests() == b"".join(sorted({bytes.fromhex(name) for name in names}))


async def test_a_run_without_media_stores_nothing(run: MediaRun) -> None:
    await run.uploader.finish(limit())
    await run.uploader.store_digests(limit())
    assert [key for key in run.store.puts if "journal" not in key] == []


async def test_what_the_pool_has_is_not_sent_again_until_it_is_old(run: MediaRun, tmp_path: Path) -> None:
    thumb, display = run.write_image(0)
    await run.uploader.upload()
    run.restart()
    run.write_image(0)
    run.store.puts.clear()
    await run.uploader.upload()
    assert [key for key in run.store.puts if ".media" in key] == []
    old = time.time() - 302_500
    os.utime(tmp_path / "store" / media_object("team", thumb), (old, old))
    run.restart()
    run.write_image(0)
    await run.uploader.upload()
    assert [key for key in run.store.puts if ".media" in key] == [media_object("team", thumb)]
    assert run.list_left() == []


async def test_the_same_picture_of_many_documents_is_sent_once(run: MediaRun) -> None:
    for document in range(100):
        run.write_image(document)
    await run.uploader.upload()
    assert len([key for key in run.store.puts if ".media" in key]) == 2
    assert len(await run.read_lines()) == 100


HOSTILE = {
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "html": b"<!DOCTYPE html><script>alert(1)</script>",
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xc3\x50\0\0\xc3\x50",
    "large": make_webp(16384, 16384),
    "animated": b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\1\0\0" * 2 + bytes(8),
    "cut": make_webp()[:20],
    "empty": b"",
    "sound": b"RIFF\x1a\0\0\0WAVEfmt " + bytes(40),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("place", ["thumb", "display"])
async def test_what_is_no_picture_of_its_place_is_refused(run: MediaRun, content: bytes, place: str) -> None:
    name = run.write(content)
    run.append(make_media_line(0, {"kind": "image", place: name, "width": 10}))
    await run.uploader.upload()
    (document,) = await run.read_lines()
    assert document.items[0].digests == [] and document.items[0].omitted == MediaOmission.UNREADABLE
    assert document.items[0].width == 10
    assert not await run.is_in_pool(name) and run.uploader.omitted == 1


async def test_a_file_whose_content_has_another_digest_is_refused(run: MediaRun) -> None:
    name = run.write(make_webp(), "0" * 64)
    run.append(make_media_line(0, {"kind": "image", "thumb": name}))
    await run.uploader.upload()
    assert not await run.is_in_pool(name) and (await run.read_lines())[0].items[0].digests == []


async def test_the_digest_of_another_run_gives_nobody_its_file(run: MediaRun) -> None:
    content = make_webp(salt="secret")
    await ObjectStore.put(run.store, media_object("team", hash_file(content)), content)
    run.append(make_media_line(0, {"kind": "image", "thumb": hash_file(content)}))
    await run.uploader.finish(limit())
    await run.uploader.store_digests(limit())
    assert (await run.read_lines())[0].items[0].omitted == MediaOmission.NOT_KEPT
    assert run.uploader.table.files == {}


async def test_a_file_that_was_taken_for_one_place_is_not_good_for_another(tmp_path: Path) -> None:
    run = MediaRun(tmp_path, policy=MediaPolicy.ORIGINAL)
    bomb = run.write(make_webp(16384, 16384))
    for item in ({"original": bomb}, {"thumb": bomb}, {"display": bomb}, {"original": bomb}):
        run.append(make_media_line(0, {"kind": "image", **item}))
        await run.uploader.upload()
    assert [document.items[0].digests for document in await run.read_lines()] == [[bomb], [], [], [bomb]]


async def test_a_small_picture_is_its_own_thumb(run: MediaRun) -> None:
    small = run.write(make_webp(30, 20))
    for document in range(3):
        run.append(make_media_line(document, {"kind": "image", "thumb": small, "display": small}))
        await run.uploader.upload()
    assert [document.items[0].omitted for document in await run.read_lines()] == 3 * [None]


async def test_many_lines_are_few_objects(run: MediaRun) -> None:
    run.append(b"".join(make_media_line(number, {"kind": "image", "omitted": "Budget"}) for number in range(5000)))
    await run.uploader.upload()
    assert len(run.store.puts) == 1 and len(await run.read_lines()) == 5000


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "folder"])
async def test_what_is_no_file_of_its_own_is_refused(run: MediaRun, tmp_path: Path, kind: str) -> None:
    content = make_webp(salt=kind)
    outside = tmp_path / "outside"
    outside.write_bytes(content)
    place = run.path / "media" / hash_file(content)
    makers: dict[str, Any] = {
        "link": lambda: place.symlink_to(outside),
        "hard link": lambda: place.hardlink_to(outside),
        "fifo": lambda: os.mkfifo(place),
        "folder": place.mkdir,
    }
    makers[kind]()
    run.append(make_media_line(0, {"kind": "image", "thumb": place.name}))
    await run.uploader.upload()
    assert not await run.is_in_pool(place.name) and (await run.read_lines())[0].items[0].digests == []


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (MediaPolicy.THUMBS, ["thumb"]),
        (MediaPolicy.DISPLAY, ["thumb", "display"]),
        (MediaPolicy.ORIGINAL, ["thumb", "display", "original"]),
    ],
)
async def test_no_more_is_kept_than_is_permitted(tmp_path: Path, policy: MediaPolicy, kept: list[str]) -> None:
    run = MediaRun(tmp_path, policy=policy)
    contents = {"thumb": make_webp(), "display": make_webp(1000), "original": b"\x89PNG\r\n\x1a\n" + bytes(64)}
    names = {place: run.write(content) for place, content in contents.items()}
    run.append(make_media_line(0, {"kind": "image", **names}))
    await run.uploader.upload()
    (document,) = await run.read_lines()
    assert document.items[0].digests == [names[place] for place in kept]
    assert [place for place, name in names.items() if await run.is_in_pool(name)] == kept


async def test_a_run_that_keeps_none_is_not_looked_at(tmp_path: Path) -> None:
    run = MediaRun(tmp_path, policy=MediaPolicy.NONE)
    run.write_image(0)
    await run.uploader.finish(limit())
    await run.uploader.store_digests(limit())
    assert run.store.puts == []


SOUND = b"RIFF\x24\0\0\0WAVEfmt " + bytes(24)
VIDEO = b"\0\0\0\x20ftypisom\0\0\2\0" + bytes(64)


@pytest.mark.parametrize(
    ("kind", "place", "content", "is_kept"),
    [
        ("audio", "display", SOUND, True),
        ("audio", "original", b"fLaC" + bytes(40), True),
        ("audio", "thumb", make_webp(), False),
        ("audio", "display", make_webp(), False),
        ("video", "thumb", make_webp(), True),
        ("video", "display", VIDEO, False),
        ("video", "original", VIDEO, True),
        ("image", "original", VIDEO, False),
    ],
)
async def test_each_place_has_its_formats(tmp_path: Path, kind: str, place: str, content: bytes, is_kept: bool) -> None:
    run = MediaRun(tmp_path, policy=MediaPolicy.ORIGINAL)
    name = run.write(content)
    run.append(make_media_line(0, {"kind": kind, place: name}))
    await run.uploader.upload()
    assert await run.is_in_pool(name) is is_kept


async def test_bounds_of_a_file_and_of_a_run(tmp_path: Path) -> None:
    small, large = make_webp(salt="a" * 100), make_webp(salt="b" * 2000)
    run = MediaRun(tmp_path, file_bytes=1000, run_bytes=3 * len(small))
    thumbs = [run.write(make_webp(salt=f"{number}" + "a" * 99)) for number in range(5)]
    run.append(make_media_line(9, {"kind": "image", "thumb": run.write(large)}))
    await run.uploader.upload()
    for document, thumb in enumerate(thumbs):
        run.append(make_media_line(document, {"kind": "image", "thumb": thumb}))
        await run.uploader.upload()
    items = [document.items[0] for document in await run.read_lines()]
    assert [item.omitted for item in items] == [MediaOmission.TOO_LARGE, None, None, None, *2 * [MediaOmission.BUDGET]]


async def test_a_large_file_is_sent_in_parts(tmp_path: Path) -> None:
    run = MediaRun(tmp_path, policy=MediaPolicy.ORIGINAL)
    content = VIDEO + os.urandom(9 * 2**20)
    name = run.write(content)
    run.append(make_media_line(0, {"kind": "video", "original": name}))
    await run.uploader.upload()
    assert await ObjectStore.get(run.store, media_object("team", name), max_bytes=2**24) == content


async def test_while_the_store_is_away_nothing_is_lost(run: MediaRun) -> None:
    thumb, _ = run.write_image(0)
    run.store.is_away = True
    with pytest.raises(Unreachable):
        await run.uploader.upload()
    assert len(run.list_left()) == 2
    run.store.is_away = False
    await run.uploader.upload()
    assert (await run.read_lines())[0].items[0].omitted is None and await run.is_in_pool(thumb)


async def test_at_the_end_nothing_is_waited_for(run: MediaRun) -> None:
    run.write_image(0)
    run.store.is_away, run.store.away_at = True, ".media"
    await run.uploader.finish(limit())
    (document,) = await run.read_lines()
    assert document.items[0].omitted == MediaOmission.NOT_KEPT and document.items[0].digests == []
    assert run.uploader.omitted == 2


async def test_a_put_that_hangs_ends_with_the_time(run: MediaRun) -> None:
    run.write_image(0)
    run.store.away_at = ".media"
    run.store.released.clear()
    await run.uploader.finish(limit(0.1))
    run.store.away_at = ""
    run.store.released.set()
    await run.uploader.store_digests(limit())
    assert run.log.errors("media not stored to the end") == ["it took too long"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"b":[]}\n',
        b"no json\n",
        b'{"m":{"t":"mme","d":0,"i":[{"kind":"image","thumb":"../../secret"}]}}\n',
        b'{"m":{"t":"mme","d":0,"i":' + json.dumps([{"kind": "image"}] * 17).encode() + b"}}\n",
        b'{"m":{"t":"mme","d":0,"i":' + b"[" * 5000 + b"]" * 5000 + b"}}\n",
        b'{"m":{"t":"mme","d":0,"i":[],"x":-1}}\n',
        b'{"m":{"t":"mme","d":"' + b"x" * 100_000 + b'","i":[]}}\n',
    ],
    ids=["answers", "no json", "path", "too many", "too deep", "negative", "long"],
)
async def test_a_line_that_is_not_ours_ends_the_file(run: MediaRun, line: bytes) -> None:
    run.write_image(0)
    run.append(line)
    run.write_image(1, salt="x")
    await run.uploader.upload()
    assert [document.document for document in await run.read_lines()] == [0]
    assert run.log.errors("media end here") == ["a line is not the runner's"]


async def test_a_line_is_waited_for_until_it_is_whole(run: MediaRun) -> None:
    line = make_media_line(0, {"kind": "image", "thumb": run.write(make_webp())})
    run.append(line[:30])
    await run.uploader.upload()
    assert await run.read_lines() == []
    run.append(line[30:])
    await run.uploader.upload()
    assert len(await run.read_lines()) == 1


async def test_each_rank_has_its_lines(tmp_path: Path) -> None:
    run = MediaRun(tmp_path, ranks=2)
    other = JournalName(1, 1, JournalKind.MEDIA)
    run.append(make_media_line(5, {"kind": "image", "thumb": run.write(make_webp(salt="r"))}), other)
    run.write_image(4)
    await run.uploader.upload()
    assert len(await list_segments(run.store)) == 2 and len(run.uploader.table.files) == 3
