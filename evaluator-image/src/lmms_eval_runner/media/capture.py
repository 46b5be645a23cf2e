"""Takes what a task made of a document for the adapter, on the adapter's thread, and hands copies to the encoder.

Whatever goes wrong is counted, and nothing else.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

from lmms_eval_core.media import MAX_ITEMS, MediaPolicy

from .encoder import DocumentWork, Encoder
from .found import Found, list_media
from .snapshots import Pending, take_snapshot
from .tags import DocumentTag, find_tag


class Capture:
    """What is kept in one process. `failures` counts what could not be looked at."""

    def __init__(self, encoder: Encoder, policy: MediaPolicy) -> None:
        self._encoder, self._policy = encoder, policy
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._seen: set[tuple[str, int]] = set()
        self._inside = threading.local()
        self.failures = 0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of a document that does the same, and has its result kept."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            tag = find_tag(args[0]) if args else None
            # What a task calls on its way is part of what it makes.
            if tag is None or getattr(self._inside, "call", False):
                return function(*args, **kwargs)
            self._inside.call = True
            try:
                made = function(*args, **kwargs)
            finally:
                self._inside.call = False
            self._keep(tag, made)
            return made

        return call

    def _keep(self, tag: DocumentTag, made: Any) -> None:
        try:
            if self._is_new(tag):
                self._take(tag, made)
        except Exception:  # noqa: BLE001 - tasks make anything of a document; the run goes on
            self.failures += 1

    def _is_new(self, tag: DocumentTag) -> bool:
        # A process that was forked has no thread that would encode.
        if os.getpid() != self._pid:
            return False
        with self._lock:
            is_new = (tag.task, tag.number) not in self._seen
            self._seen.add((tag.task, tag.number))
            return is_new

    def _take(self, tag: DocumentTag, made: Any) -> None:
        found = list(list_media(made))
        if not found:
            return
        room, pending = self._encoder.room, list[Pending]()
        for one in found[:MAX_ITEMS]:
            pending.append(self._snapshot(one, room))
            room -= pending[-1].size
        self._encoder.offer(DocumentWork(tag, pending, more=len(found) - len(pending)))

    def _snapshot(self, found: Found, room: int) -> Pending:
        try:
            return take_snapshot(found, self._policy, room=room)
        except Exception:  # noqa: BLE001 - as above; the others of the document are kept
            self.failures += 1
            return Pending(found.kind)
