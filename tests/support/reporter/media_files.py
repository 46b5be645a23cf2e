"""Media as the runner leaves them in the run directory, and the uploader of the reporter over a store in a folder."""

import hashlib
from pathlib import Path
from typing import Any

from journal_files import FolderStore, RecordedLog, make_header, make_prefix, read_journal

from lmms_eval_core.journal import JournalKind, JournalName, MediaLine, parse_journal_line
from lmms_eval_core.layout import MEDIA_DIGESTS, media_object
from lmms_eval_core.media import DocumentMedia, MediaPolicy
from lmms_eval_core.run import MediaLimits
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter.media_upload import MediaUploader
from lmms_eval_reporter.run_directory import RunDirectory

OWN = JournalName(1, 0, JournalKind.MEDIA)


def make_webp(width: int = 320, height: int = 200, *, salt: str = "") -> bytes:
    """Return the beginning of a lossless WebP file of this size, and `salt`."""
    bits = (width - 1) | (height - 1) << 14
    content = b"WEBPVP8L" + b"\0\0\0\0" + b"\x2f" + bits.to_bytes(4, "little") + bytes(8) + salt.encode()
    return b"RIFF" + len(content).to_bytes(4, "little") + content


def hash_file(content: bytes) -> str:
    """Return the name of a file with this content."""
    return hashlib.sha256(content).hexdigest()


def make_media_line(document: int, *items: dict[str, Any], task: str = "mme", more: int = 0) -> bytes:
    """Return the line of a document."""
    content: dict[str, Any] = {"t": task, "d": document, "i": list(items)}
    if more:
        content["x"] = more
    media = DocumentMedia.model_validate(content)
    return MediaLine(media=media).to_json().encode() + b"\n"


class MediaRun:
    """A run directory with media, and its uploader."""

    def __init__(self, path: Path, *, ranks: int = 1, **limits: Any) -> None:
        self.path = path / "run"
        for folder in ("journal", "media"):
            (self.path / folder).mkdir(parents=True)
        self.store, self.log = FolderStore(path / "store"), RecordedLog()
        self._ranks, self._limits = ranks, {"policy": MediaPolicy.DISPLAY} | limits
        self.uploader = self.restart()
        self.append(make_header())

    def restart(self) -> MediaUploader:
        """Return another uploader, as after a restart of the container."""
        self.uploader = MediaUploader(
            RunDirectory(self.path),
            self.store,
            make_prefix(),
            limits=MediaLimits(**self._limits),
            ranks=self._ranks,
            log=self.log,
        )
        return self.uploader

    def append(self, content: bytes, name: JournalName = OWN) -> None:
        """Add to the lines of a rank."""
        with (self.path / "journal" / str(name)).open("ab") as stream:
            stream.write(content)

    def write(self, content: bytes, name: str = "") -> str:
        """Write a file, under the name of its content if no other is given; return the name."""
        name = name or hash_file(content)
        (self.path / "media" / name).write_bytes(content)
        return name

    def write_image(self, document: int, *, salt: str = "", task: str = "mme") -> tuple[str, str]:
        """Write the thumb and the display of a document, and its line; return their names."""
        thumb = self.write(make_webp(salt=f"t{salt}"))
        display = self.write(make_webp(1536, 1000, salt=f"d{salt}"))
        self.append(make_media_line(document, {"kind": "image", "thumb": thumb, "display": display}, task=task))
        return thumb, display

    def list_left(self) -> list[str]:
        """Return the files that are still in the run directory."""
        return sorted(path.name for path in (self.path / "media").iterdir())

    async def read_lines(self, name: JournalName = OWN) -> list[DocumentMedia]:
        """Return what the store says of documents."""
        lines = (parse_journal_line(line) for line in (await read_journal(self.store, name)).splitlines())
        return [line.media for line in lines if isinstance(line, MediaLine)]

    async def is_in_pool(self, digest: str) -> bool:
        """Return whether the pool has a file."""
        return await ObjectStore.exists(self.store, media_object("team", digest))

    async def read_digests(self) -> bytes:
        """Return the list of what the samples show."""
        return await ObjectStore.get(self.store, make_prefix().file(MEDIA_DIGESTS), max_bytes=2**26)
