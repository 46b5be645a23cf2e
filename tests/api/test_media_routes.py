"""Media over HTTP, from a store in memory that counts what is read."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import ExitStack

import httpx
import pytest
from media_place import IMAGE, OTHER, PREFIX, MediaPlace
from stored_media import MP4, PNG, WEBP, make_digest, put_digests, put_media

from lmms_eval_api.artifacts import media, media_digests
from lmms_eval_api.artifacts.archive import MEDIA_STREAMS
from lmms_eval_core import layout

DIGESTS_KEY = PREFIX.file(layout.MEDIA_DIGESTS)
VIDEO = MP4 + bytes(range(256)) * 8 * 1024


@pytest.fixture
async def place() -> AsyncIterator[MediaPlace]:
    made = MediaPlace()
    async with made.session:
        yield made


def say(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["detail"]


async def test_an_image_of_a_sample(place: MediaPlace) -> None:
    digest = place.show(IMAGE)
    answer = await place.get(digest)
    assert (answer.status_code, answer.content) == (200, IMAGE)
    headers = dict(answer.headers)
    assert headers == {
        "content-type": "image/webp",
        "content-length": str(len(IMAGE)),
        "content-disposition": f'inline; filename="{digest[:16]}.webp"',
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "private, no-cache",
        "accept-ranges": "bytes",
        "etag": f'"{digest}"',
        "x-request-id": headers["x-request-id"],
    }
    assert len(place.store.reads) == 2


async def test_who_has_it_costs_no_read(place: MediaPlace) -> None:
    digest = place.show(IMAGE)
    for sent in (f'"{digest}"', f'W/"{digest}"', f'"x", "{digest}"'):
        answer = await place.get(digest, if_none_match=sent)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", f'"{digest}"')
        assert answer.headers["cache-control"] == "private, no-cache"
    assert place.store.calls == 0
    for sent in ("*", '"x"', digest, ""):
        assert (await place.get(digest, if_none_match=sent)).content == IMAGE
    assert (await place.get(digest, job="gone", if_none_match=f'"{digest}"')).status_code == 404


async def test_a_file_that_is_known_is_read_once(place: MediaPlace) -> None:
    digest = place.show(IMAGE)
    for _ in range(3):
        assert (await place.get(digest)).content == IMAGE
    assert place.store.reads.count(layout.media_object("team", digest)) == 3
    assert place.store.reads.count(DIGESTS_KEY) == 1


@pytest.mark.parametrize(
    ("sent", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=0-", slice(0, None)),
        ("bytes=5-9", slice(5, 10)),
        ("Bytes= 5-9 ", slice(5, 10)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=-99999999", slice(0, None)),
        ("bytes=1000000-99999999", slice(1_000_000, None)),
        ("bytes=524287-524288", slice(524_287, 524_289)),
        ("bytes=400000-1400000", slice(400_000, 1_400_001)),
    ],
)
async def test_a_part_of_a_file(place: MediaPlace, sent: str, part: slice) -> None:
    digest = place.show(VIDEO)
    start, end, _ = part.indices(len(VIDEO))
    for if_range in ({}, {"if_range": f'"{digest}"'}):
        answer = await place.get(digest, range=sent, **if_range)
        assert (answer.status_code, answer.content) == (206, VIDEO[part])
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(VIDEO)}"
        assert answer.headers["content-length"] == str(end - start)
        assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("video/mp4", "nosniff")


@pytest.mark.parametrize(
    "sent",
    [
        "bytes=0-1,5-9",
        "bytes=-",
        "bytes=9-5",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=٣-٤",
        "bytes",
        "items=0-1",
        "bytes=0-9999999999999999999999",
        "bytes=" + ",".join(f"{number}-" for number in range(2000)),
    ],
)
async def test_what_is_no_single_range_gets_the_whole(place: MediaPlace, sent: str) -> None:
    digest = place.show(VIDEO)
    answer = await place.session.get(f"/jobs/a/media/{digest}", headers={b"range": sent.encode()})
    assert (answer.status_code, answer.content) == (200, VIDEO)
    assert "content-range" not in answer.headers


async def test_a_part_of_another_version_is_the_whole(place: MediaPlace) -> None:
    digest = place.show(VIDEO)
    for version in ('"x"', f'W/"{digest}"', "Sat, 28 Nov 2026 00:00:00 GMT"):
        assert (await place.get(digest, range="bytes=0-1", if_range=version)).status_code == 200
    two = [("Range", "bytes=0-1"), ("Range", "bytes=5-6")]
    assert (await place.session.get(f"/jobs/a/media/{digest}", headers=two)).status_code == 200


@pytest.mark.parametrize("sent", [f"bytes={len(VIDEO)}-", "bytes=999999999999-9999999999999", "bytes=-0"])
async def test_bytes_that_are_not_there(place: MediaPlace, sent: str) -> None:
    digest = place.show(VIDEO)
    answer = await place.get(digest, range=sent)
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(VIDEO)}"


async def test_a_large_file_is_read_in_pieces(place: MediaPlace) -> None:
    digest = place.show(VIDEO)
    assert (await place.get(digest)).content == VIDEO
    pieces = -(-len(VIDEO) // media.PIECE_BYTES)
    assert place.store.reads.count(layout.media_object("team", digest)) == pieces


async def test_large_files_are_sent_to_so_many_at_once(place: MediaPlace) -> None:
    large, small = put_media(place.store, "team", VIDEO), put_media(place.store, "team", IMAGE)
    put_digests(place.store, PREFIX, [large, small])
    with ExitStack() as held:
        for _ in range(MEDIA_STREAMS):
            held.enter_context(place.archive.media_streams.hold())
        assert (await place.get(large)).status_code == 429
        assert (await place.get(large, range="bytes=0-99")).status_code == 206
        assert (await place.get(small)).status_code == 200
    assert (await place.get(large)).status_code == 200


SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
HTML = b"<!DOCTYPE html><script>alert(1)</script>"


@pytest.mark.parametrize("content", [SVG, HTML, b"\xef\xbb\xbf" + HTML, b"%PDF-1.7", b"", b"\0\0\0\x20ftypheic"])
async def test_other_types_are_never_sent(place: MediaPlace, content: bytes) -> None:
    digest = place.show(content)
    for headers in ({}, {"range": "bytes=0-9"}, {"accept": "image/svg+xml"}):
        assert say(await place.get(digest, **headers)) == (
            404,
            "What is stored under this digest is no image, video or sound of a kind that is shown.",
        )


async def test_a_page_behind_the_first_bytes_of_an_image_is_an_image(place: MediaPlace) -> None:
    answer = await place.get(place.show(PNG + HTML))
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("image/png", "nosniff")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


async def test_what_the_job_does_not_show_is_not_there(place: MediaPlace) -> None:
    """Of another run, of another namespace, of nobody."""
    mine = place.show(IMAGE)
    theirs = place.show(WEBP + b"theirs", prefix=OTHER)
    elsewhere = put_media(place.store, "another-team", WEBP + b"elsewhere")
    put_digests(place.store, PREFIX._replace(namespace="another-team"), [elsewhere])
    not_shown = (404, "Job a shows no media of this digest.")
    for digest in (theirs, elsewhere, make_digest(b"nobody's"), "0" * 64, "f" * 64):
        assert say(await place.get(digest)) == not_shown
    assert (await place.get(theirs, job="b")).status_code == 200
    assert (await place.get(mine, job="b")).status_code == 404
    assert (await place.get(mine, job="gone")).status_code == 404


async def test_a_digest_of_the_run_whose_file_is_of_another_namespace(place: MediaPlace) -> None:
    elsewhere = put_media(place.store, "another-team", IMAGE)
    put_digests(place.store, PREFIX, [elsewhere])
    assert say(await place.get(elsewhere)) == (404, media_gone())


def media_gone() -> str:
    return "This file is no longer kept: the store keeps media for a time, and as many as its administrator allows."


async def test_what_was_deleted_is_no_longer_kept(place: MediaPlace) -> None:
    digest = place.show(IMAGE)
    assert (await place.get(digest)).status_code == 200
    del place.store.objects[layout.media_object("team", digest)]
    for headers in ({}, {"range": "bytes=0-1"}):
        assert say(await place.get(digest, **headers)) == (404, media_gone())


@pytest.mark.parametrize(
    "digest", ["x", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "%2e%2e%2f" * 8, "0" * 60 + "%00%0d", "é" * 64]
)
async def test_what_is_no_digest(place: MediaPlace, digest: str) -> None:
    place.show(IMAGE)
    assert (await place.get(digest)).status_code == 404
    assert place.store.calls == 0


async def test_jobs_without_media(place: MediaPlace) -> None:
    digest = put_media(place.store, "team", IMAGE)
    assert (await place.get(digest)).status_code == 404
    put_digests(place.store, PREFIX, [])
    other = MediaPlace()
    other.store.objects |= place.store.objects
    for _ in range(2):
        assert (await other.get(digest)).status_code == 404


async def test_without_a_store_and_with_one_that_is_away() -> None:
    assert (await MediaPlace(has_store=False).get("0" * 64)).status_code == 501
    away = MediaPlace()
    digest = away.show(IMAGE)
    away.store.is_away = True
    answer = await away.get(digest)
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


async def test_a_store_that_ends_before_the_file_does(place: MediaPlace) -> None:
    digest = place.show(VIDEO)
    assert (await place.get(digest, range="bytes=0-9")).status_code == 206
    place.store.objects[layout.media_object("team", digest)] = VIDEO[: media.PIECE_BYTES]
    with pytest.raises(Exception, match=r".*"):
        await place.get(digest)


def spread(count: int) -> list[str]:
    return sorted(make_digest(str(number).encode()) for number in range(count))


async def test_each_of_many_digests_is_found_with_few_reads(place: MediaPlace) -> None:
    digests = spread(20_000)
    put_digests(place.store, PREFIX, digests)
    reader = media_digests.MediaDigests(place.store)
    for digest in [*digests[:3], *digests[5000:15000:997], *digests[-3:]]:
        assert await reader.contains(DIGESTS_KEY, bytes.fromhex(digest)) is True
        assert await reader.contains(DIGESTS_KEY, bytes.fromhex(digest[:-1] + "x".replace("x", "0"))) in (True, False)
    pages = -(-len(digests) * 32 // media_digests.PAGE_BYTES)
    assert len(place.store.reads) <= pages
    fresh, before = media_digests.MediaDigests(place.store), len(place.store.reads)
    await fresh.contains(DIGESTS_KEY, bytes.fromhex(digests[12_345]))
    assert len(place.store.reads) - before <= 3
    absent = [make_digest(f"absent {number}".encode()) for number in range(100)]
    assert not any([await fresh.contains(DIGESTS_KEY, bytes.fromhex(digest)) for digest in absent])


async def test_digests_that_lie_about_their_order(place: MediaPlace) -> None:
    """Nothing is found that is not in the file, every search ends soon, and another job is not touched."""
    shown = place.show(IMAGE, prefix=OTHER)
    for order in ([*reversed(spread(20_000))], ["f" * 64] * 20_000, ["0" * 64] * 20_000, [*spread(100) * 200]):
        made = MediaPlace()
        made.store.objects |= place.store.objects
        made.store.objects[DIGESTS_KEY] = b"".join(map(bytes.fromhex, order))
        for digest in (shown, order[0][:-1] + "1", "8" * 64):
            before = len(made.store.reads)
            assert (await made.get(digest)).status_code == 404
            assert len(made.store.reads) - before <= 8
        assert (await made.get(shown, job="b")).status_code == 200


async def test_digests_that_are_cut(place: MediaPlace) -> None:
    digest = place.show(IMAGE)
    whole = place.store.objects[DIGESTS_KEY]
    for content, status in ((whole + b"\0" * 31, 200), (whole[:31], 404), (b"", 404), (b"{}", 404)):
        made = MediaPlace()
        made.store.objects |= place.store.objects | {DIGESTS_KEY: content}
        assert (await made.get(digest)).status_code == status


async def test_digests_that_are_too_many(place: MediaPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_digests, "MAX_BYTES", 64)
    digest = place.show(IMAGE)
    place.store.objects[DIGESTS_KEY] *= 3
    answer = await place.get(digest)
    assert (answer.status_code, "too long" in answer.text) == (502, True)


async def test_digests_that_shrink_while_they_are_read(place: MediaPlace) -> None:
    digests = spread(20_000)
    put_digests(place.store, PREFIX, digests)
    assert (await place.get(digests[0])).status_code == 404
    place.store.objects[DIGESTS_KEY] = place.store.objects[DIGESTS_KEY][: media_digests.PAGE_BYTES + 7]
    assert (await place.get(digests[2_048])).status_code == 502


async def test_what_is_kept_of_digests_is_bounded(place: MediaPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_digests, "KEPT_SIZES", 3)
    monkeypatch.setattr(media, "KEPT_TYPES", 3)
    reader = media_digests.MediaDigests(place.store)
    for attempt in range(10):
        assert await reader.contains(PREFIX._replace(attempt=attempt).file(layout.MEDIA_DIGESTS), bytes(32)) is None
        await reader.contains(DIGESTS_KEY, bytes(32))
    assert len(reader._absent) == 3
    assert place.archive.media is not None
    for number in range(10):
        await place.archive.media.open("team", put_media(place.store, "team", IMAGE + bytes([number])))
    assert len(place.archive.media._known) == 3


async def test_many_at_once(place: MediaPlace) -> None:
    digests = [put_media(place.store, "team", IMAGE + bytes([number])) for number in range(200)]
    put_digests(place.store, PREFIX, digests)
    answers = await asyncio.gather(*map(place.get, itertools.islice(itertools.cycle(digests), 400)))
    assert {answer.status_code for answer in answers} == {200}
