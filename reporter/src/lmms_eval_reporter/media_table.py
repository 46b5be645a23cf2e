"""Which media each document of a run has: what cards of samples show, and which files the run needs. Pure.

A million documents take some dozens of megabytes: items are kept once, and documents are numbers in arrays.
"""

import json
from array import array
from bisect import bisect_right
from collections import defaultdict
from typing import Any, Final

from lmms_eval_core.media import MAX_FILES, DocumentMedia, MediaItem
from lmms_eval_core.sample_index.format import make_card_media, make_document_key
from lmms_eval_reporter.media_checks import ContentClass, find_class, list_digests

# Of different items, as JSON; beyond, documents have a count alone.
MAX_ITEM_BYTES: Final = 32 * 1024 * 1024
MAX_DOCUMENTS: Final = 2_000_000
MAX_TASKS: Final = 4000


class MediaTable:
    """Takes the documents one by one, of which the last one counts.

    `files` are all files, by digest, and what each can be used for.
    """

    def __init__(self) -> None:
        self.files: dict[bytes, ContentClass] = {}
        self._numbers: dict[bytes, int] = {}
        self._contents: list[bytes] = []
        self._room = MAX_ITEM_BYTES
        self._documents = 0
        self._tasks: dict[str, _TaskTable] = defaultdict(_TaskTable)

    def add(self, document: DocumentMedia) -> None:
        """Add a document whose files are in the pool."""
        for item in document.items:
            for place, digest in list_digests(item):
                self.add_file(bytes.fromhex(digest), find_class(item.kind, place))
        is_known = document.task in self._tasks
        if self._documents == MAX_DOCUMENTS or (not is_known and len(self._tasks) == MAX_TASKS):
            return
        self._documents += 1
        number = self._find_number(document.items, document.more)
        self._tasks[document.task].add(make_document_key(document.document), number)

    def has_room(self, digest: bytes) -> bool:
        """Return whether another file may be added."""
        return digest in self.files or len(self.files) < MAX_FILES

    def add_file(self, digest: bytes, content: ContentClass) -> None:
        """Add a file, as far as there is room."""
        if self.has_room(digest):
            self.files[digest] = min(content, self.files.get(digest, content))

    def encode_digests(self) -> bytes:
        """Return all digests, sorted, one after the other."""
        return b"".join(sorted(self.files))

    def find(self, task: str, key: int) -> list[Any] | None:
        """Return what the cards of a document have, by its `make_document_key`; None for a document without media."""
        number = self._tasks[task].find(key) if task in self._tasks else None
        return None if number is None else json.loads(self._contents[number])

    def _find_number(self, items: list[MediaItem], more: int) -> int:
        content = json.dumps(make_card_media(items, more)).encode()
        if content not in self._numbers and len(content) > self._room:
            content = json.dumps([more + len(items)]).encode()
        if content not in self._numbers:
            self._room -= len(content)
            self._numbers[content] = len(self._contents)
            self._contents.append(content)
        return self._numbers[content]


class _TaskTable:
    """The documents of a task, each with the number of what it has."""

    def __init__(self) -> None:
        self._keys, self._numbers = array("q"), array("I")
        self._is_sorted = True

    def add(self, key: int, number: int) -> None:
        self._is_sorted = self._is_sorted and (not self._keys or self._keys[-1] <= key)
        self._keys.append(key)
        self._numbers.append(number)

    def find(self, key: int) -> int | None:
        if not self._is_sorted:
            self._sort()
        place = bisect_right(self._keys, key) - 1
        return self._numbers[place] if place >= 0 and self._keys[place] == key else None

    def _sort(self) -> None:
        order = array("I", sorted(range(len(self._keys)), key=self._keys.__getitem__))
        self._keys = array("q", (self._keys[place] for place in order))
        self._numbers = array("I", (self._numbers[place] for place in order))
        self._is_sorted = True
