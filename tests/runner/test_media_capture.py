"""Which media belong to which document, and that keeping them changes nothing; without lmms-eval and its packages."""

import copy
import json
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runner_process import build_run_input

from lmms_eval_core.journal import MediaLine, parse_journal_line
from lmms_eval_core.media import DocumentMedia, MediaKind, MediaOmission, MediaPolicy
from lmms_eval_core.run import RunInput
from lmms_eval_runner.media import encoder as media_encoder
from lmms_eval_runner.media.capture import Capture
from lmms_eval_runner.media.encoder import Encoder
from lmms_eval_runner.media.folder import MediaFolder
from lmms_eval_runner.media.found import list_media
from lmms_eval_runner.media.tags import DocumentTag, TaggedTasks, find_tag

SOUND = b"RIFF\x24\0\0\0WAVEfmt " + bytes(24)


class Rows:
    """A data set as those of `datasets`: each document is made anew."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return [row[key] for row in self.rows]
        return (
            {name: [row[name] for row in self.rows[key]] for name in self.rows[0]}
            if isinstance(key, slice)
            else dict(self.rows[key])
        )

    def __len__(self) -> int:
        return len(self.rows)


Rows.__module__ = "datasets.arrow_dataset"


def make_tasks(**tasks: int) -> TaggedTasks:
    made = TaggedTasks({})
    for task, count in tasks.items():
        made[task] = {"test": Rows([{"name": f"{task}-{number}"} for number in range(count)])}
    return made


class Kept:
    """The run directory of a process that keeps media."""

    def __init__(self, path: Path, policy: MediaPolicy = MediaPolicy.DISPLAY, **limits: Any) -> None:
        self.path = path
        media = {"policy": policy} | limits
        run = RunInput.model_validate(build_run_input(media=media))
        self.encoder = Encoder(MediaFolder(run, path), policy)
        self.capture = Capture(self.encoder, policy)

    def read(self) -> list[DocumentMedia]:
        assert self.encoder.finish(20)
        (file,) = (self.path / "journal").glob("media-*")
        lines = [parse_journal_line(line) for line in file.read_bytes().splitlines()]
        assert None not in lines
        return [line.media for line in lines if isinstance(line, MediaLine)]

    def find(self, item: Any) -> bytes:
        return Path(self.path / "media" / item.display).read_bytes()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def draw_from(folder: Path) -> Callable[[dict[str, Any]], list[str]]:
    """Return the function of a task that gives the file of a document."""

    def draw(document: dict[str, Any]) -> list[str]:
        path = folder / f"{document['name']}.wav"
        path.write_bytes(SOUND + document["name"].encode())
        return [str(path)]

    return draw


def test_a_picture_belongs_to_its_document_and_not_to_the_first_of_its_batch(kept: Kept, tmp_path: Path) -> None:
    tasks = make_tasks(one=3, two=2)
    draw = {task: kept.capture.wrap(draw_from(tmp_path)) for task in tasks}
    requests = [(draw[task], task, "test", number) for task in tasks for number in range(len(tasks[task]["test"]))]
    for start in range(0, len(requests), 2):
        functions, names, splits, numbers = zip(*requests[start : start + 2], strict=True)
        # As adapters do, even where the batch has documents of two tasks.
        [functions[0](tasks[task][split][number]) for task, split, number in zip(names, splits, numbers, strict=True)]
    found = {(media.task, media.document): kept.find(media.items[0])[len(SOUND) :] for media in kept.read()}
    assert found == {(task, number): f"{task}-{number}".encode() for _, task, _, number in requests}


def test_the_adapter_gets_what_the_task_made(kept: Kept) -> None:
    made, got = [object()], []

    def draw(document: dict[str, Any]) -> list[Any]:
        got.append(document)
        return made

    document = make_tasks(one=1)["one"]["test"][0]
    assert kept.capture.wrap(draw)(document) is made and got[0] is document
    assert document == {"name": "one-0"} and isinstance(document, dict) and json.dumps(document) == '{"name": "one-0"}'


def test_what_a_task_raises_passes(kept: Kept) -> None:
    def draw(document: dict[str, Any]) -> list[Any]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        kept.capture.wrap(draw)(make_tasks(one=1)["one"]["test"][0])


def test_what_cannot_be_looked_at_is_counted(kept: Kept) -> None:
    class Odd(dict[str, Any]):
        def get(self, *args: Any) -> Any:
            raise SystemError("odd")

    made = [Odd(array=1)]
    assert kept.capture.wrap(lambda document: made)(make_tasks(one=1)["one"]["test"][0]) is made
    assert kept.capture.failures == 1


def test_a_document_without_a_mark_is_not_kept(kept: Kept, tmp_path: Path) -> None:
    draw = kept.capture.wrap(draw_from(tmp_path))
    draw({"name": "x"})
    draw(dict(make_tasks(one=1)["one"]["test"][0]))
    assert kept.read() == []


def test_a_document_is_kept_once(kept: Kept, tmp_path: Path) -> None:
    tasks = make_tasks(one=2)
    draw = kept.capture.wrap(draw_from(tmp_path))
    for _ in range(3):
        for number in range(2):
            draw(tasks["one"]["test"][number])
    assert sorted(str(media.document) for media in kept.read()) == ["0", "1"]


def test_a_function_within_another_is_part_of_it(kept: Kept, tmp_path: Path) -> None:
    inner = kept.capture.wrap(draw_from(tmp_path))

    def make_messages(document: dict[str, Any]) -> list[Any]:
        return [{"role": "user", "content": [{"type": "audio", "url": path} for path in 2 * inner(document)]}]

    kept.capture.wrap(make_messages)(make_tasks(one=1)["one"]["test"][0])
    (media,) = kept.read()
    assert len(media.items) == 2


def test_a_forked_process_keeps_nothing(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, document = kept.capture.wrap(draw_from(tmp_path)), make_tasks(one=1)["one"]["test"][0]
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        draw(document)
    assert kept.read() == []


def test_marks() -> None:
    tasks = make_tasks(one=2)
    rows = tasks["one"]["test"]
    assert type(rows).__name__ == "Rows" and isinstance(rows, Rows) and len(rows) == 2
    assert find_tag(rows[1]) == DocumentTag("one", "test", 1)
    assert rows["name"] == ["one-0", "one-1"] and rows[0:1] == {"name": ["one-0"]}
    assert [find_tag(row) for row in (copy.deepcopy(rows)[0], pickle.loads(pickle.dumps(rows.rows))[0])] == 2 * [None]
    assert tasks["one"] is tasks["one"] and dict.__getitem__(tasks, "one")["test"].rows is rows.rows
    tasks["one"] = {"test": Rows([{"name": "new"}])}
    assert tasks["one"]["test"][0] == {"name": "new"}
    tasks["list"] = {"test": [{"name": "x"}]}
    # A task may write into documents of a list: they stay what they are.
    assert tasks["list"]["test"][0] is tasks["list"]["test"][0] and find_tag(tasks["list"]["test"][0]) is None
    tasks["none"] = None
    assert tasks["none"] is None


def test_what_is_found() -> None:
    class Image:
        pass

    Image.__module__ = "PIL.Image"
    image = Image()
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "x"}]},
        {"role": "user", "content": [{"type": "image", "url": image}, {"type": "video", "url": {"path": "v"}}]},
    ]
    cases: list[tuple[Any, list[tuple[str, Any]]]] = [
        (None, []),
        ([], []),
        (7, []),
        ([image, [image]], [("image", image)] * 2),
        (image, [("image", image)]),
        (messages, [("image", image), ("video", "v")]),
        (["a.PNG", "a.mp4", Path("a.flac")], [("image", "a.PNG"), ("video", "a.mp4"), ("audio", Path("a.flac"))]),
        ([{"type": "audio", "url": "x"}], [("audio", "x")]),
        ([{"array": 1, "sampling_rate": 2}], [("audio", {"array": 1, "sampling_rate": 2})]),
        ([{"bytes": SOUND, "path": None}], [("audio", SOUND)]),
        ([b"no format"], []),
    ]
    for made, found in cases:
        assert [(one.kind.value, one.value) for one in list_media(made)] == found
    assert len(list(list_media([image] * 5000))) == 1000


@pytest.mark.parametrize("address", ["https://example.com/a.png", "data:image/png;base64,AAAA", "s3://b/k"])
def test_an_address_is_never_loaded(kept: Kept, address: str) -> None:
    kept.capture.wrap(lambda document: [address])(make_tasks(one=1)["one"]["test"][0])
    (media,) = kept.read()
    assert media.items[0].omitted == MediaOmission.NOT_KEPT


def test_more_items_than_are_listed_are_counted(kept: Kept) -> None:
    kept.capture.wrap(lambda document: ["http://x/a.png"] * 20)(make_tasks(one=1)["one"]["test"][0])
    (media,) = kept.read()
    assert len(media.items) == 16 and media.more == 4


@pytest.mark.parametrize(
    ("content", "limits", "omitted"),
    [
        (SOUND, {}, None),
        (b"text", {}, MediaOmission.NOT_KEPT),
        (SOUND, {"file_bytes": 10}, MediaOmission.TOO_LARGE),
        (SOUND, {"run_bytes": 40}, MediaOmission.BUDGET),
        (SOUND, {"policy": MediaPolicy.THUMBS}, MediaOmission.NOT_KEPT),
        (None, {}, MediaOmission.UNREADABLE),
    ],
)
def test_why_a_sound_is_not_kept(
    tmp_path: Path, content: bytes | None, limits: dict[str, Any], omitted: MediaOmission | None
) -> None:
    kept, path = Kept(tmp_path, **limits), tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    kept.capture.wrap(lambda document: [str(path)])(make_tasks(one=1)["one"]["test"][0])
    (media,) = kept.read()
    assert media.items[0].kind == MediaKind.AUDIO and media.items[0].omitted == omitted
    assert list((tmp_path / "media").iterdir()) == (
        [] if omitted else [tmp_path / "media" / str(media.items[0].display)]
    )


def test_a_device_is_not_opened(kept: Kept, tmp_path: Path) -> None:
    fifo = tmp_path / "a.wav"
    os.mkfifo(fifo)
    kept.capture.wrap(lambda document: [str(fifo)])(make_tasks(one=1)["one"]["test"][0])
    (media,) = kept.read()
    assert media.items[0].omitted == MediaOmission.UNREADABLE


def test_what_the_encoder_has_no_time_for_is_counted(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_encoder, "QUEUE_DOCUMENTS", 3)
    released, started = threading.Event(), threading.Event()
    original = kept.encoder._write

    def write(work: Any) -> None:
        started.set()
        assert released.wait(20)
        original(work)

    monkeypatch.setattr(kept.encoder, "_write", write)
    tasks = make_tasks(one=6)
    draw = kept.capture.wrap(draw_from(tmp_path))
    begun = time.monotonic()
    for number in range(5):
        draw(tasks["one"]["test"][number])
    assert started.wait(20)
    released.set()
    found = {media.document: media.items[0].omitted for media in kept.read()}
    assert found == {0: None, 1: None, 2: None, 3: MediaOmission.BEHIND, 4: MediaOmission.BEHIND}
    # Nothing was waited for.
    assert time.monotonic() - begun < 20


def test_a_priority_that_cannot_be_changed_is_left(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    kept.capture.wrap(draw_from(tmp_path))(make_tasks(one=1)["one"]["test"][0])
    assert len(kept.read()) == 1


def test_what_is_left_when_the_time_is_over_is_counted(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    original = kept.encoder._write
    monkeypatch.setattr(kept.encoder, "_write", lambda work: released.wait(20) and original(work))
    tasks = make_tasks(one=3)
    draw = kept.capture.wrap(draw_from(tmp_path))
    for number in range(3):
        draw(tasks["one"]["test"][number])
    assert not kept.encoder.finish(0.0)
    released.set()
    found = {media.document: media.items[0].omitted for media in kept.read()}
    assert found[2] == MediaOmission.BEHIND and len(found) == 3


def test_a_full_disk_ends_nothing(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    path = tmp_path / "a.wav"
    path.touch()
    with path.open("wb") as file:
        file.write(SOUND)
    kept.capture.wrap(lambda document: [str(path)])(make_tasks(one=1)["one"]["test"][0])
    (media,) = kept.read()
    assert media.items[0].digests == [] and media.items[0].omitted == MediaOmission.UNREADABLE
