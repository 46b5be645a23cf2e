"""What becomes of real images, videos, sounds and data sets: with the evaluator's packages, and without lmms-eval."""

import io
import os
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runner_process import build_run_input

from lmms_eval_core.journal import MediaLine, parse_journal_line
from lmms_eval_core.media import MediaItem, MediaOmission, MediaPolicy
from lmms_eval_core.run import RunInput
from lmms_eval_runner.media import encoder as media_encoder
from lmms_eval_runner.media import video
from lmms_eval_runner.media.capture import Capture
from lmms_eval_runner.media.encoder import Encoder
from lmms_eval_runner.media.folder import MediaFolder
from lmms_eval_runner.media.tags import DocumentTag, TaggedDocument, TaggedTasks, find_tag

pytestmark = [pytest.mark.harness, pytest.mark.timeout(120)]


class Kept:
    """The run directory of a process that keeps media, and what it has kept of the things it is given."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0

    def keep(self, *made: Any, policy: MediaPolicy = MediaPolicy.DISPLAY, **limits: Any) -> list[MediaItem]:
        self.number += 1
        folder = self.path / str(self.number)
        folder.mkdir()
        run = RunInput.model_validate(build_run_input(media={"policy": policy} | limits))
        encoder = Encoder(MediaFolder(run, folder), policy)
        document = TaggedDocument()
        document.tag = DocumentTag("t", "test", 0)
        capture = Capture(encoder, policy)
        capture.wrap(lambda document: list(made))(document)
        assert encoder.finish(60) and capture.failures == encoder.failures == 0
        (file,) = (folder / "journal").iterdir()
        lines = map(parse_journal_line, file.read_bytes().splitlines())
        (media,) = [line.media for line in lines if isinstance(line, MediaLine)]
        assert sorted(path.name for path in (folder / "media").iterdir()) == sorted(
            {digest for item in media.items for digest in item.digests}
        )
        return media.items

    def open(self, digest: str | None) -> Any:
        from PIL import Image

        assert digest is not None
        image = Image.open(self.path / str(self.number) / "media" / digest)
        image.load()
        assert image.format == "WEBP"
        return image


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def make_photo(width: int, height: int, mode: str = "RGB") -> Any:
    from PIL import Image

    return Image.effect_mandelbrot((width, height), (-2, -1.5, 1, 1.5), 20).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I", "F", "I;16", "YCbCr", "HSV"])
def test_images_of_every_mode(kept: Kept, mode: str) -> None:
    from PIL import Image

    image = Image.new(mode, (2000, 1000)) if mode == "I;16" else make_photo(2000, 1000, mode)
    before = image.tobytes(), dict(image.info), image.size
    (item,) = kept.keep(image)
    assert (image.tobytes(), dict(image.info), image.size) == before
    assert (item.width, item.height, item.omitted) == (2000, 1000, None)
    assert (kept.open(item.thumb).size, kept.open(item.display).size) == ((320, 160), (1536, 768))


def test_a_small_image_is_not_enlarged(kept: Kept) -> None:
    (item,) = kept.keep(make_photo(30, 20))
    assert kept.open(item.thumb).size == kept.open(item.display).size == (30, 20)


def test_keeping_an_image_draws_nothing_from_random(kept: Kept) -> None:
    import numpy

    random.seed(3)
    numpy.random.seed(3)
    state = random.getstate(), numpy.random.get_state(legacy=False)["state"]["key"].tolist()
    kept.keep(make_photo(400, 300))
    assert (random.getstate(), numpy.random.get_state(legacy=False)["state"]["key"].tolist()) == state


def test_where_a_photograph_was_taken_is_not_kept(kept: Kept, tmp_path: Path) -> None:
    from PIL import Image

    image, exif = make_photo(200, 100), Image.Exif()
    exif[0x010E] = "at home"
    image.save(tmp_path / "a.jpg", exif=exif)
    given = Image.open(tmp_path / "a.jpg")
    for made in (given, str(tmp_path / "a.jpg"), (tmp_path / "a.jpg").read_bytes()):
        (item,) = kept.keep(made)
        for digest in item.digests:
            assert b"at home" not in (kept.path / str(kept.number) / "media" / digest).read_bytes()
            assert not kept.open(digest).getexif()
    assert given.getexif()[0x010E] == "at home"


def test_equal_images_are_one_file(kept: Kept) -> None:
    items = kept.keep(*(make_photo(400, 300) for _ in range(5)))
    assert len({digest for item in items for digest in item.digests}) == 2


def test_thumbs_alone(kept: Kept, tmp_path: Path) -> None:
    make_photo(900, 300).save(tmp_path / "a.png")
    items = kept.keep(make_photo(900, 300), tmp_path / "a.png", policy=MediaPolicy.THUMBS)
    assert [(item.display, item.original, item.omitted, item.width) for item in items] == 2 * [(None, None, None, 900)]
    assert kept.open(items[0].thumb).size == (320, 107)


def test_the_file_of_an_image_is_kept_where_that_is_asked_for(kept: Kept, tmp_path: Path) -> None:
    make_photo(900, 300).save(tmp_path / "a.png")
    (item,) = kept.keep(tmp_path / "a.png", policy=MediaPolicy.ORIGINAL)
    original = kept.path / str(kept.number) / "media" / str(item.original)
    assert original.read_bytes() == (tmp_path / "a.png").read_bytes() and len(item.digests) == 3


def make_bomb(side: int) -> bytes:
    """A PNG of so many pixels a side, in a few bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_an_image_of_billions_of_pixels_is_never_decoded(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image, ImageFile

    def load(self: Any) -> Any:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    bomb = make_bomb(50_000)
    (tmp_path / "a.png").write_bytes(bomb)
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    items = kept.keep(Image.open(io.BytesIO(bomb)), bomb, tmp_path / "a.png")
    assert [(item.digests, item.omitted) for item in items] == 3 * [([], MediaOmission.TOO_LARGE)]


@pytest.mark.parametrize(
    "content",
    [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<!DOCTYPE html>", make_bomb(10)[:44], os.urandom(1000)],
)
def test_what_is_no_image_has_no_picture(kept: Kept, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    (item,) = kept.keep(tmp_path / "a.png", policy=MediaPolicy.ORIGINAL)
    assert (item.digests, item.omitted) == ([], MediaOmission.UNREADABLE)


def test_when_the_encoder_is_behind_thumbs_are_kept(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_encoder, "QUEUE_BYTES", 2_000_000)
    items = kept.keep(*(make_photo(600 + number, 600) for number in range(6)))
    found = [(item.thumb is not None, item.display is not None, item.omitted) for item in items]
    assert found[:2] == [(True, True, None), (True, False, MediaOmission.BEHIND)]
    assert found[2:] == 4 * [(False, False, MediaOmission.BEHIND)]


def write_video(path: Path, *, frames: int = 30, side: tuple[int, int] = (640, 360)) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *side, "yuv420p"
        frame = av.VideoFrame.from_image(make_photo(*side))
        for number in range(frames):
            frame.pts = number
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_a_video_has_a_poster(kept: Kept, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    (item,) = kept.keep(str(path))
    assert (item.width, item.height, item.seconds, item.original) == (640, 360, 3.0, None)
    assert (kept.open(item.thumb).size, kept.open(item.display).size) == ((320, 180), (640, 360))
    (item,) = kept.keep(str(path), policy=MediaPolicy.ORIGINAL)
    original = kept.path / str(kept.number) / "media" / str(item.original)
    assert original.read_bytes() == path.read_bytes()


@pytest.fixture
def playlist(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A playlist that calls itself a video, and the requests that came of it."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = tmp_path / "a.mp4"
        address = f"http://127.0.0.1:{server.server_port}/secret.ts"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n")
        yield path, asked
        server.shutdown()


def test_a_playlist_is_not_followed(kept: Kept, playlist: tuple[Path, list[str]]) -> None:
    path, asked = playlist
    (item,) = kept.keep(str(path))
    assert (item.digests, item.omitted, asked) == ([], MediaOmission.UNREADABLE, [])


def test_a_video_that_never_ends_is_given_up(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_video(tmp_path / "a.mp4", frames=2).read_bytes()
    endless = tmp_path / "endless.mp4"
    with endless.open("wb") as file:
        file.write(whole[: len(whole) // 2])
        file.truncate(2**40)
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    monkeypatch.setattr(video.make_poster, "__kwdefaults__", {"seconds": 5.0})
    items = kept.keep(str(endless), str(fifo), str(tmp_path / "none.mp4"))
    assert [(item.digests, item.omitted) for item in items] == 3 * [([], MediaOmission.UNREADABLE)]


def test_sounds(kept: Kept, tmp_path: Path) -> None:
    import wave

    import numpy

    tone = numpy.sin(numpy.arange(16_000, dtype=numpy.float32) / 10)
    stereo = numpy.stack([tone, tone])
    items = kept.keep(
        {"array": tone, "sampling_rate": 16_000},
        (stereo, 8000),
        {"array": numpy.zeros(3_000_000), "sampling_rate": 16_000},
    )
    assert [(item.kind, item.seconds, item.omitted) for item in items] == [
        ("audio", 1.0, None),
        ("audio", 2.0, None),
        ("audio", 187.5, MediaOmission.TOO_LARGE),
    ]
    found = []
    for item in items[:2]:
        with wave.open(str(kept.path / str(kept.number) / "media" / str(item.display))) as file:
            found.append((file.getnchannels(), file.getframerate(), file.getnframes(), file.getsampwidth()))
    assert found == [(1, 16_000, 16_000, 2), (2, 8000, 16_000, 2)]


def test_documents_of_a_real_data_set_are_marked() -> None:
    import copy
    import pickle

    import datasets

    rows = datasets.Dataset.from_list([{"n": number} for number in range(4)])
    tasks = TaggedTasks({})
    tasks["a"] = datasets.DatasetDict({"test": rows})
    marked = tasks["a"]["test"]
    assert isinstance(tasks["a"], datasets.DatasetDict) and isinstance(marked, datasets.Dataset)
    assert find_tag(marked[2]) == DocumentTag("a", "test", 2) and marked[2] == {"n": 2}
    assert len(marked) == 4 and list(marked["n"]) == [0, 1, 2, 3] and marked[1:3] == {"n": [1, 2]}
    assert [row["n"] for row in marked] == [0, 1, 2, 3]
    assert [row["n"] for row in marked.select([3, 1])] == [3, 1] and marked.features == rows.features
    assert find_tag(rows[0]) is None and find_tag(marked.select([3])[0]) is None
    for other in (copy.deepcopy(marked), pickle.loads(pickle.dumps(marked))):
        assert type(other) is datasets.Dataset and other[1] == {"n": 1}
