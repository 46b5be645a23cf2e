"""Media of answers, before there are samples: which documents have them, and which files may be read."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from journal_segments import build_chunk, build_header, name_segment, pack_segment
from media_place import IMAGE, OTHER, PREFIX, WORKER, MediaPlace
from stored_media import build_media_line, make_digest, put_digests, put_media, put_media_lines

from lmms_eval_api.artifacts import media_journals
from lmms_eval_api.artifacts.media_journals import MediaJournals
from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_core.journal import MAX_LINE_BYTES, JournalKind
from lmms_eval_core.layout import ArtifactPrefix

FIRST = PREFIX._replace(attempt=1)
NONE = {"thumb": None, "display": None, "original": None, "width": None, "height": None, "seconds": None}


def make_item(number: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "image", "thumb": make_digest(b"thumb %d" % number), "width": 640, **fields}


def shown(item: dict[str, Any]) -> dict[str, Any]:
    return NONE | {"omitted": None} | item


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MediaPlace]:
    """A front end that looks for more at once."""
    monkeypatch.setattr(media_journals, "NEWEST_SECONDS", 0.0)
    monkeypatch.setattr(media_journals, "EARLIER_SECONDS", 0.0)
    made = MediaPlace()
    made.learn(PREFIX, "Running")
    made.store.objects[name_segment(FIRST)] = pack_segment([build_header(1), build_chunk([0])])
    made.store.objects[name_segment(PREFIX)] = pack_segment([build_header(2), build_chunk([1, 2, 3])])
    async with made.session:
        yield made


async def get_answers(place: MediaPlace, query: str = "?live=true", **headers: str) -> httpx.Response:
    answer = await place.session.get(f"/jobs/a/samples/mme{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


async def list_media(place: MediaPlace) -> dict[int, list[Any]]:
    return {item["document"]: item["media"] for item in (await get_answers(place)).json()["samples"]}


async def test_answers_come_with_their_media(place: MediaPlace) -> None:
    first, second, third = make_item(1), make_item(2, kind="video", seconds=2.5), make_item(3, omitted="TooLarge")
    put_media_lines(place.store, FIRST, build_media_line(0, first))
    put_media_lines(place.store, PREFIX, build_media_line(1, second, third, more=4), build_media_line(9, first))
    put_media_lines(place.store, PREFIX, build_media_line(2, third), rank=1)
    assert await list_media(place) == {0: [shown(first)], 1: [shown(second), shown(third)], 2: [shown(third)], 3: []}
    page = (await get_answers(place)).json()["samples"]
    assert [item["media_more"] for item in page] == [0, 4, 0, 0]
    lines = await get_answers(place, Accept="application/x-ndjson")
    assert [json.loads(line) for line in lines.text.splitlines()] == page


async def test_media_of_another_task_are_not_this_documents(place: MediaPlace) -> None:
    put_media_lines(place.store, PREFIX, build_media_line(1, make_item(1), task="other"), build_media_line("2"))
    assert await list_media(place) == {0: [], 1: [], 2: [], 3: []}


async def test_files_of_answers_can_be_read(place: MediaPlace) -> None:
    mine, earlier, theirs = (put_media(place.store, "team", IMAGE + name) for name in (b"mine", b"earlier", b"theirs"))
    put_media_lines(place.store, FIRST, build_media_line(0, make_item(1, original=earlier)))
    put_media_lines(place.store, PREFIX, build_media_line(1, make_item(1, display=mine)))
    put_media_lines(place.store, OTHER, build_media_line(1, make_item(1, display=theirs)))
    place.learn(OTHER, "Running")
    for phase in ("Running", "Failed", "Cancelled"):
        place.learn(PREFIX, phase)
        assert [(await place.get(digest)).status_code for digest in (mine, earlier, theirs)] == [200, 200, 404]
    assert (await place.get(theirs, job="b")).content == IMAGE + b"theirs"


async def test_media_are_found_as_they_come(place: MediaPlace) -> None:
    later = put_media(place.store, "team", IMAGE)
    put_media_lines(place.store, PREFIX, build_media_line(1, make_item(1)))
    assert (await place.get(later)).status_code == 404
    assert (await list_media(place))[2] == []
    put_media_lines(place.store, PREFIX, build_media_line(1, make_item(1)), build_media_line(2, make_item(2)))
    put_media_lines(place.store, PREFIX, build_media_line(3, make_item(3, display=later)), number=1)
    assert [len(media) for media in (await list_media(place)).values()] == [0, 1, 1, 1]
    assert (await place.get(later)).status_code == 200


async def test_a_segment_that_has_not_changed_is_read_once(place: MediaPlace) -> None:
    key = put_media_lines(place.store, PREFIX, build_media_line(1, make_item(1)))
    for _ in range(5):
        assert (await place.get("0" * 64)).status_code == 404
    assert place.store.reads.count(key) == 1


async def test_the_store_is_asked_for_more_every_other_second() -> None:
    place, now = MediaPlace(), [100.0]
    journals = MediaJournals(place.store, WORKER, SampleReader(place.store, WORKER), clock=lambda: now[0])
    for seconds, lists in ((0, 2), (1.9, 2), (2.1, 3), (4.3, 4), (61, 6)):
        now[0] = 100.0 + seconds
        assert not await journals.is_shown(PREFIX, bytes(32))
        assert len(place.store.lists) == lists


async def test_samples_say_what_is_shown_once_they_are_there(place: MediaPlace) -> None:
    """What answers showed that are no samples is not shown any more."""
    kept, dropped = (put_media(place.store, "team", IMAGE + name) for name in (b"kept", b"dropped"))
    put_media_lines(place.store, PREFIX, build_media_line(1, make_item(1, display=kept, original=dropped)))
    put_digests(place.store, PREFIX, [kept])
    assert [(await place.get(digest)).status_code for digest in (kept, dropped)] == [200, 404]


@pytest.mark.parametrize(
    "content",
    [
        b"no zstd",
        b"",
        pack_segment([b"{}\n"]),
        pack_segment([b'{"m":' + b"[" * 100_000 + b"\n"]),
        pack_segment([b'{"m":{"t":"mme","d":1,"i":[{"kind":"image","thumb":"../../x"}]}}\n']),
        pack_segment([b'{"m":{"t":"mme","d":1,"i":[' + b",".join([b'{"kind":"image"}'] * 17) + b"]}}\n"]),
        pack_segment([b"x" * (MAX_LINE_BYTES + 1)]),
        pack_segment([build_media_line(1, make_item(1))[:-1]]),
        pack_segment([build_chunk([1])]),
    ],
    ids=["junk", "empty", "no line", "deep", "path", "many", "long", "cut", "answers"],
)
async def test_what_cannot_be_read_is_not_shown(place: MediaPlace, content: bytes) -> None:
    digest = put_media(place.store, "team", IMAGE)
    put_media_lines(place.store, PREFIX, build_media_line(2, make_item(2, display=digest)), rank=1)
    place.store.objects[name_segment(PREFIX, kind=JournalKind.MEDIA)] = content
    assert [len(media) for media in (await list_media(place)).values()] == [0, 0, 1, 0]
    assert (await place.get(make_digest(b"thumb 1"))).status_code == 404
    assert (await place.get(digest)).status_code == 200


async def test_lines_before_one_that_cannot_be_read_count(place: MediaPlace) -> None:
    lines = build_media_line(1, make_item(1)), b'{"m":{}}\n', build_media_line(2, make_item(2))
    put_media_lines(place.store, PREFIX, *lines)
    assert [len(media) for media in (await list_media(place)).values()] == [0, 1, 0, 0]


async def test_of_two_lines_about_a_document_the_last_counts(place: MediaPlace) -> None:
    """As in the cards that the reporter makes."""
    put_media_lines(place.store, FIRST, build_media_line(1, make_item(5)), build_media_line(0, make_item(6)))
    put_media_lines(place.store, PREFIX, build_media_line(1, make_item(1)), build_media_line(1, make_item(7)))
    assert await list_media(place) == {0: [shown(make_item(6))], 1: [shown(make_item(7))], 2: [], 3: []}


async def test_other_files_are_no_journals_of_media(place: MediaPlace) -> None:
    line = build_media_line(1, make_item(1))
    names = ("media-a000001-r0.jsonl-0000.zst", "media-a000002-r00.jsonl-0000.zst", "media-a000002-r0.jsonl.zst")
    for name in names:
        place.store.objects[PREFIX.file(f"journal/{name}")] = pack_segment([build_header(2), line])
    place.store.objects[name_segment(PREFIX, kind=JournalKind.COMPLETIONS)] = pack_segment([build_header(2), line])
    assert (await list_media(place))[1] == []


async def test_many_documents_in_many_segments(place: MediaPlace) -> None:
    """Each is found, in blocks and segments wherever it is."""
    count = 5_000
    place.store.objects[name_segment(PREFIX)] = pack_segment([build_header(2), build_chunk(range(count))])
    for number in range(5):
        lines = [build_media_line(document, make_item(document)) for document in range(number, count, 5)]
        put_media_lines(place.store, PREFIX, *lines, number=number)
    answers = (await get_answers(place, Accept="application/x-ndjson")).text.splitlines()
    found = {item["document"]: item["media"] for item in map(json.loads, answers)}
    assert found == {document: [shown(make_item(document))] for document in range(count)}


async def test_what_is_kept_is_bounded(place: MediaPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_journals, "ATTEMPT_BYTES", 2_000)
    monkeypatch.setattr(media_journals, "KEPT_BYTES", 4_000)
    journals = MediaJournals(place.store, WORKER, SampleReader(place.store, WORKER))
    attempts: list[ArtifactPrefix] = [PREFIX._replace(name=f"job-{number}", attempt=1) for number in range(10)]
    for attempt in attempts:
        for number in range(10):
            put_media_lines(place.store, attempt, build_media_line(number, make_item(number)), number=number)
        assert await journals.is_shown(attempt, bytes.fromhex(make_digest(b"thumb 0")))
        assert not await journals.is_shown(attempt, bytes.fromhex(make_digest(b"thumb 9")))
    assert sum(known.memory_bytes for known in journals._attempts.values()) <= 4_000
    assert [*journals._attempts][-1] == attempts[-1]
