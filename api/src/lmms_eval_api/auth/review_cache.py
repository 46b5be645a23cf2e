"""Answers that are kept for a while: one question at a time for each key, and never more than so many answers.

Refusals are kept apart from acceptances, so that a flood of strangers drives no known caller out.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from lmms_eval_api.problems import unavailable

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")

SIZE: Final = 4096
QUESTIONS: Final = 64


class Kept(NamedTuple, Generic[Answer]):
    """An answer, and when it is to be asked for again."""

    answer: Answer
    until: float


class Memory(Generic[Key, Answer]):
    """An answer that counts as false is a refusal. Errors are not kept."""

    def __init__(self, *, accepted: float, refused: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = {True: accepted, False: refused}
        self._kept: dict[bool, dict[Key, Kept[Answer]]] = {True: {}, False: {}}
        self._asking: dict[Key, asyncio.Task[Answer]] = {}
        self._clock = clock

    async def get(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer that is kept for this key, else the one that `ask` gives. 503 while too many are asked for."""
        for kept in self._kept.values():
            if key in kept and self._clock() < kept[key].until:
                return kept[key].answer
        task = self._asking.get(key) or self._start(key, ask)
        # One caller who hangs up must not take the answer from the others.
        return await asyncio.shield(task)

    def _start(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> asyncio.Task[Answer]:
        if len(self._asking) >= QUESTIONS:
            raise unavailable("Too many unknown callers at once; try again.", retry_after=1)
        task = self._asking[key] = asyncio.create_task(self._ask(key, ask))
        task.add_done_callback(lambda done: self._finish(key, done))
        return task

    async def _ask(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        # An answer is as old as its question.
        asked = self._clock()
        answer = await ask()
        self._keep(key, answer, asked)
        return answer

    def _keep(self, key: Key, answer: Answer, asked: float) -> None:
        for kept in self._kept.values():
            kept.pop(key, None)
        accepted = bool(answer)
        kept = self._kept[accepted]
        kept[key] = Kept(answer, asked + self._seconds[accepted])
        if len(kept) > SIZE:
            del kept[next(iter(kept))]

    def _finish(self, key: Key, task: asyncio.Task[Answer]) -> None:
        del self._asking[key]
        if not task.cancelled():
            # Asked for, so that an error is not reported as lost when every caller has hung up.
            task.exception()
