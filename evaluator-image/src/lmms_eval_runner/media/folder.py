"""Writes files of media into the run directory, each named by the SHA-256 of its content, and a line for each document.

The reporter takes the files away while the run goes on.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from lmms_eval_core.journal import JournalHeader, JournalKind, JournalName, MediaLine
from lmms_eval_core.media import MAX_LINES_BYTES, DocumentMedia, MediaOmission
from lmms_eval_core.run import JOURNAL_DIRECTORY, MEDIA_DIRECTORY, RunInput
from lmms_eval_runner.journal.files import JournalWriter

# Of the bytes of a run, what only thumbs may take: the last documents have a picture too.
_FOR_THUMBS: Final = 0.1


class MediaFolder:
    """The files of one process of a run."""

    def __init__(self, run: RunInput, directory: Path, *, rank: int = 0, ranks: int = 1) -> None:
        self._folder = directory / MEDIA_DIRECTORY
        self._folder.mkdir(exist_ok=True)
        self.file_bytes = run.media.file_bytes
        self._room = run.media.run_bytes // ranks
        self._for_thumbs = int(self._room * _FOR_THUMBS)
        self._written: set[bytes] = set()
        journal = directory / JOURNAL_DIRECTORY
        journal.mkdir(exist_ok=True)
        name = JournalName(run.attempt, rank, JournalKind.MEDIA)
        header = JournalHeader(attempt=run.attempt, rank=rank, parts={})
        self._lines = JournalWriter(journal / str(name), header, room=MAX_LINES_BYTES // ranks)

    def write(self, content: bytes, *, is_thumb: bool = False) -> str | MediaOmission:
        """Write a file, if it is not there yet; return its digest, or why it is not kept. Raises OSError."""
        if len(content) > self.file_bytes:
            return MediaOmission.TOO_LARGE
        digest = hashlib.sha256(content)
        if digest.digest() in self._written:
            return digest.hexdigest()
        if len(content) > self._room - (0 if is_thumb else self._for_thumbs):
            return MediaOmission.BUDGET
        path = self._folder / digest.hexdigest()
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(content)
        # The reporter is another user.
        temporary.chmod(0o644)
        temporary.rename(path)
        self._room -= len(content)
        self._written.add(digest.digest())
        return digest.hexdigest()

    def add_document(self, document: DocumentMedia) -> None:
        """Write the line of a document, whose files are there. Raises OSError, JournalFull."""
        self._lines.write(MediaLine(media=document).to_json())
