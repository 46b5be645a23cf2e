"""Makes files of what was taken of documents, on a thread of its own, and never more of it than fits into its queue."""

import atexit
import contextlib
import os
import queue
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from lmms_eval_core.media import (
    DISPLAY_PIXELS,
    MAX_TASK,
    THUMB_PIXELS,
    DocumentMedia,
    MediaItem,
    MediaKind,
    MediaOmission,
)
from lmms_eval_core.media import MediaPolicy as Policy
from lmms_eval_core.media_types import find_media_type

from .folder import MediaFolder
from .images import TooManyPixels, encode, open_image, shrink
from .snapshots import Pending
from .sounds import MAX_SOUND_BYTES
from .tags import DocumentTag
from .video import make_poster

QUEUE_BYTES: Final = 128 * 1024 * 1024
# Paths take no memory, and time.
QUEUE_DOCUMENTS: Final = 4096
# What waits when the process ends: less than this takes.
END_SECONDS: Final = 20.0
# Equal images in a row are encoded once.
_KNOWN: Final = 4096
_NICE: Final = 10


@dataclass
class DocumentWork:
    """What was taken of a document; `more` counts what was not."""

    tag: DocumentTag
    pending: list[Pending]
    more: int = 0

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return sum(one.size for one in self.pending)


class Encoder:
    """The thread and its queue. `failures` counts documents of which nothing could be written."""

    def __init__(self, folder: MediaFolder, policy: Policy) -> None:
        self._folder, self._policy = folder, policy
        self._queue: queue.SimpleQueue[DocumentWork] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting_bytes = self._waiting = 0
        self._thread: threading.Thread | None = None
        self._known: OrderedDict[bytes, tuple[str | None, str | None]] = OrderedDict()
        self.failures = 0

    @property
    def room(self) -> int:
        """How many bytes fit into the queue."""
        with self._lock:
            return QUEUE_BYTES - self._waiting_bytes if self._waiting < QUEUE_DOCUMENTS else 0

    def offer(self, work: DocumentWork) -> None:
        """Take a document, at once."""
        with self._lock:
            fits = self._waiting < QUEUE_DOCUMENTS
            if fits:
                self._waiting += 1
                self._waiting_bytes += work.size
            if self._thread is None:
                self._start()
        if fits:
            self._queue.put(work)
        else:
            self._give_up(work)

    def finish(self, seconds: float = END_SECONDS) -> bool:
        """Wait until all is written; return whether it is. What is left then is counted as omitted."""
        end = time.monotonic() + seconds
        while self._waiting and time.monotonic() < end:
            time.sleep(0.01)
        has_finished = not self._waiting
        while not self._queue.empty():
            with contextlib.suppress(queue.Empty):
                work = self._queue.get_nowait()
                self._give_up(work)
                self._release(work.size)
        return has_finished

    def _release(self, size: int) -> None:
        with self._lock:
            self._waiting -= 1
            self._waiting_bytes -= size

    def _give_up(self, work: DocumentWork) -> None:
        items = [MediaItem(kind=one.kind, omitted=MediaOmission.BEHIND) for one in work.pending]
        self._add_document(work, items)

    def _start(self) -> None:
        pid = os.getpid()
        # A process that ends waits for nothing else than this.
        atexit.register(lambda: self.finish() if os.getpid() == pid else None)
        self._thread = threading.Thread(target=self._run, name="lmms-eval-media", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # Of Linux: a thread has a priority of its own. One that is lower already may not be raised.
        with contextlib.suppress(OSError):
            own = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, own, max(_NICE, os.getpriority(os.PRIO_PROCESS, own)))
        while True:
            work = self._queue.get()
            size = work.size
            try:
                self._write(work)
            except Exception:  # noqa: BLE001 - a full disk, or what decoders raise; the run goes on
                self.failures += 1
            finally:
                self._release(size)

    def _write(self, work: DocumentWork) -> None:
        self._add_document(work, [self._make_item(one) for one in work.pending])

    def _add_document(self, work: DocumentWork, items: list[MediaItem]) -> None:
        document = DocumentMedia(task=work.tag.task[:MAX_TASK], document=work.tag.number, items=items)
        if work.more:
            document.more = work.more
        self._folder.add_document(document)

    def _make_item(self, pending: Pending) -> MediaItem:
        given = {"width": pending.width, "height": pending.height, "seconds": pending.seconds}
        item = MediaItem(kind=pending.kind, **{name: value for name, value in given.items() if value})
        if pending.omitted is not None:
            item.omitted = pending.omitted
        try:
            self._fill(item, pending)
        except TooManyPixels:
            item.omitted = MediaOmission.TOO_LARGE
        except Exception:  # noqa: BLE001 - as above; the others of the document are kept
            item.omitted = MediaOmission.UNREADABLE
        return item

    def _fill(self, item: MediaItem, pending: Pending) -> None:
        if pending.image is not None:
            self._fill_image(item, pending)
        elif pending.content is None and pending.path is None:
            item.omitted = item.omitted or MediaOmission.NOT_KEPT
        elif pending.kind == MediaKind.IMAGE:
            self._open_image(item, pending)
        elif pending.kind == MediaKind.AUDIO:
            self._keep_sound(item, pending)
        else:
            self._fill_video(item, pending)

    def _fill_image(self, item: MediaItem, pending: Pending) -> None:
        image = pending.image
        key = blake2b(image.tobytes(), key=f"{image.mode} {image.size} {pending.has_display}".encode()).digest()
        known = self._known.get(key)
        if known is not None:
            _set_digests(item, *known)
            return
        self._keep(item, "thumb", encode(shrink(image, THUMB_PIXELS)))
        if pending.has_display:
            self._keep(item, "display", encode(image))
        if item.omitted is None:
            self._known[key] = item.thumb, item.display
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)

    def _open_image(self, item: MediaItem, pending: Pending) -> None:
        content = self._read(pending)
        has_display = self._policy != Policy.THUMBS
        longest = DISPLAY_PIXELS if has_display else THUMB_PIXELS
        opened, (item.width, item.height) = open_image(content, longest)
        with opened:
            image = shrink(opened, longest)
        self._fill_image(item, Pending(MediaKind.IMAGE, image=image, has_display=has_display))
        self._keep_original(item, content)

    def _keep_sound(self, item: MediaItem, pending: Pending) -> None:
        if self._policy == Policy.THUMBS:
            item.omitted = MediaOmission.NOT_KEPT
            return
        content = self._read(pending, MAX_SOUND_BYTES)
        if is_of_kind(content, MediaKind.AUDIO):
            self._keep(item, "display", content)
        else:
            item.omitted = MediaOmission.NOT_KEPT

    def _fill_video(self, item: MediaItem, pending: Pending) -> None:
        if pending.path is None:
            item.omitted = MediaOmission.NOT_KEPT
            return
        poster = make_poster(_check_regular(pending.path))
        given = {"width": poster.width, "height": poster.height, "seconds": poster.seconds}
        for name, value in given.items():
            if value:
                setattr(item, name, value)
        self._keep(item, "thumb", poster.thumb)
        if self._policy != Policy.THUMBS:
            self._keep(item, "display", poster.display)
        if self._policy == Policy.ORIGINAL:
            self._keep_original(item, self._read(pending))

    def _keep_original(self, item: MediaItem, content: bytes) -> None:
        if self._policy == Policy.ORIGINAL and is_of_kind(content, item.kind):
            self._keep(item, "original", content)

    def _read(self, pending: Pending, limit: int | None = None) -> bytes:
        """Return the content of something. Raises TooManyPixels, OSError, ValueError."""
        limit = min(limit or self._folder.file_bytes, self._folder.file_bytes)
        if pending.content is not None:
            content = pending.content
        else:
            assert pending.path is not None
            with _check_regular(pending.path).open("rb") as file:
                content = file.read(limit + 1)
        if len(content) > limit:
            raise TooManyPixels
        return content

    def _keep(self, item: MediaItem, place: str, content: bytes) -> None:
        written = self._folder.write(content, is_thumb=place == "thumb")
        if isinstance(written, MediaOmission):
            item.omitted = written
        else:
            setattr(item, place, written)


def is_of_kind(content: bytes, kind: MediaKind) -> bool:
    """Return whether a file has a format of this kind that is kept as it is."""
    found = find_media_type(content)
    return found is not None and found.name.startswith(f"{kind}/")


def _set_digests(item: MediaItem, thumb: str | None, display: str | None) -> None:
    for place, digest in (("thumb", thumb), ("display", display)):
        if digest is not None:
            setattr(item, place, digest)


def _check_regular(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("no regular file")
    return path
