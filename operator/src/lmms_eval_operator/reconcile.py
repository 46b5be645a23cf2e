"""The loop: look, plan, apply, until there is nothing to do; then wait for an event or for time to pass.

While another replica leads it only keeps the view, by a list now and then beside the watch, and writes nothing. Each term of
its own begins with a fresh list.

An API server that is away is backed off from, and then asked for fresh lists, because the write that failed may have happened.
What fails about one object, refused or by a defect of ours, is that object's: it is logged, counted, told in its evaluation's
message and tried again after a wait of its own (`action_failures`). A defect that is about no object ends the process, and the
next one carries on from what the API server holds.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from lmms_eval_core.kube import errors
from lmms_eval_operator import logs
from lmms_eval_operator.actions import (
    WORDS,
    Action,
    CreateJob,
    LookAgain,
    MarkRunning,
    ReadEvents,
    Report,
    evaluation_uid,
    key,
)
from lmms_eval_operator.apply import Executor
from lmms_eval_operator.clock import Now
from lmms_eval_operator.observe import Observer
from lmms_eval_operator.plan import due, plan
from lmms_eval_operator.view import View

PERIOD_SECONDS: Final = 15.0
RELIST_SECONDS: Final = 60.0
# Ten thousand evaluations are seconds of work, here and in the API server: a list that takes longer than this is made rarer in
# proportion. The watch tells of all of them; the list is for what it may have missed, and every start looks at its own live.
QUICK_LIST_SECONDS: Final = 0.5
RAREST: Final = 10.0
# Most replicas are elected or not within a fraction of a second; to list before that would be to list twice.
FIRST_TERM_SECONDS: Final = 2.0
FIRST_BACKOFF: Final = 0.5
LAST_BACKOFF: Final = 5.0
# A pass that goes on for longer lets the others have their turn; far more than a start and an end take.
MAX_ROUNDS: Final = 100
# How often one action may meet something new in a pass before it has to wait for the next pass, and how soon that comes.
PATIENCE: Final = 3
TROUBLED_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


@dataclass
class Health:
    """What the probes tell, on the monotonic clock."""

    clock: Callable[[], float]
    beat_at: float = float("-inf")
    good_at: float = float("-inf")

    def beat(self) -> None:
        """The loop lives."""
        self.beat_at = self.clock()

    def good(self) -> None:
        """A pass ended without an error."""
        self.good_at = self.clock()


@dataclass
class Reconciler:
    """Runs until cancelled. `wake` makes it look at once; `listed` is set once it knows everything.

    `term` tells which term as the leader this is, 0 while another leads; `elected` says that one has begun.
    """

    view: View
    observer: Observer
    executor: Executor
    clock: Callable[[], float]
    time: Callable[[], datetime]
    health: Health
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    term: Callable[[], int] = lambda: 1
    elected: asyncio.Event = field(default_factory=asyncio.Event)
    relist_seconds: float = RELIST_SECONDS
    passed: Callable[[float, bool], None] = lambda seconds, good: None
    """Hears how long each pass took, and whether it ended without an error."""
    failed: Callable[[str, str], None] = lambda action, how: None
    """Hears of each action that failed about its object, and whether it was refused or is a defect."""
    _term: int = 0
    _listed_at: float = float("-inf")
    _evaluations_due_at: float = float("-inf")
    _backoff: float = FIRST_BACKOFF

    async def run(self) -> None:
        """For ever."""
        self.health.beat()
        if not self.term():
            await _set(self.elected, FIRST_TERM_SECONDS)
        while True:
            self.health.beat()
            self.wake.clear()
            self.elected.clear()
            wait = await self._pass()
            self.health.beat()
            await self._sleep(wait)

    async def _pass(self) -> float:
        """One pass; for how many seconds to wait, unless something happens."""
        began = self.clock()
        try:
            wait = await self.work()
        except errors.KubeError as error:
            self.passed(self.clock() - began, False)
            return self._back_off(error)
        self.passed(self.clock() - began, True)
        self._backoff = FIRST_BACKOFF
        self.health.good()
        return wait

    async def work(self) -> float:
        """Does what there is to do; for how many seconds nothing is due after that. Raises KubeError."""
        term = self.term()
        if term != self._term or self.clock() - self._listed_at >= self.relist_seconds:
            await self._list(term)
        if not term:
            return PERIOD_SECONDS
        conflicts: Counter[str] = Counter()
        for _ in range(MAX_ROUNDS):
            if self.term() != term:
                return 0.0
            now = Now(self.clock(), self.time())
            self.view.note(now.monotonic)
            actions = plan(self.view, now)
            ready = [action for action in actions if due(self.view, action, now) and conflicts[key(action)] < PATIENCE]
            if not ready:
                return min([TROUBLED_SECONDS if conflicts else PERIOD_SECONDS, *self._waits(actions, now)])
            await self._round(ready, term, conflicts)
        log.warning("still busy after many rounds", extra=logs.keys(rounds=MAX_ROUNDS))
        return 0.0

    def _waits(self, actions: Sequence[Action], now: Now) -> Iterator[float]:
        for action in actions:
            if isinstance(action, LookAgain):
                yield action.seconds
            elif wait := self.view.failures.due_in(key(action), now.monotonic):
                yield wait

    async def _list(self, term: int) -> None:
        began = self.clock()
        evaluations = term != self._term or began >= self._evaluations_due_at
        await self.observer.everything(make_slots=term > 0, evaluations=evaluations)
        if evaluations:
            rarer = min(max((self.clock() - began) / QUICK_LIST_SECONDS, 1.0), RAREST)
            self._evaluations_due_at = self.clock() + self.relist_seconds * rarer
        if term != self._term:
            self.view.forget_times()
        self._term, self._listed_at = term, self.clock()
        self.listed.set()

    async def _round(self, actions: Sequence[Action], term: int, conflicts: Counter[str]) -> None:
        """All actions of one plan, while the term lasts. One that fails holds up no other: each has its own precondition."""
        for action in actions:
            if self.term() != term:
                return
            self.health.beat()
            try:
                if await self._done(action, conflicts):
                    self.view.failures.succeeded(key(action))
            except (errors.Invalid, errors.Forbidden, errors.NotAdmitted) as error:
                await self._failed(action, "refused", error.message)
            except errors.KubeError:
                raise
            except Exception as error:
                log.exception("a defect, about one object", extra=_keys(action))
                await self._failed(action, "defect", f"{type(error).__name__}: {error}")

    async def _done(self, action: Action, conflicts: Counter[str]) -> bool:
        """Does it, or looks again where it met something new."""
        try:
            await self.executor.apply(action)
        except (errors.Conflict, errors.NotFound) as error:
            conflicts[key(action)] += 1
            log.info("looking again", extra=_keys(action, cause=error.message))
            await self.executor.look_again(action)
            return False
        level = logging.DEBUG if isinstance(action, ReadEvents | Report) else logging.INFO
        log.log(level, "done", extra=_keys(action))
        return True

    async def _failed(self, action: Action, how: str, cause: str) -> None:
        """Backs off, for this action alone, and tells the evaluation that it is about."""
        message = f"the operator could not {WORDS[type(action)]} and tries again: {cause}"
        uid = evaluation_uid(action)
        failure = self.view.failures.record(key(action), uid=uid, message=message, now=self.clock())
        self.failed(type(action).__name__, how)
        log.error("could not be done", extra=_keys(action, how=how, cause=cause, failures=failure.times))
        if isinstance(action, Report):
            return
        try:
            if how == "defect" and isinstance(action, CreateJob | MarkRunning):
                await self.executor.refuse(action.evaluation, f"no Job can be made of this evaluation: {cause}")
            else:
                await self.executor.tell_failure(uid, message)
        except Exception:
            log.exception("could not be told", extra=_keys(action))

    def _back_off(self, error: errors.KubeError) -> float:
        wait = max(self._backoff * random.uniform(0.5, 1.5), getattr(error, "retry_after", 0.0))
        self._backoff = min(self._backoff * 2, LAST_BACKOFF)
        self._listed_at = self._evaluations_due_at = float("-inf")
        self.view.outage()
        log.warning("the API server refused or did not answer", extra=logs.keys(cause=error.message, wait=round(wait, 1)))
        return wait

    async def _sleep(self, seconds: float) -> None:
        # While backing off, events are no reason to hurry: they are what a struggling API server sends in plenty. Being elected
        # is one, since the election itself takes an API server that answers.
        await _set(self.elected if self._backoff > FIRST_BACKOFF else self.wake, seconds)


async def _set(event: asyncio.Event, seconds: float) -> None:
    """Waits for it, but not for longer."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _keys(action: Action, **more: object) -> dict[str, object]:
    """The same keys for the same things, whatever the action."""
    evaluation, job = getattr(action, "evaluation", None), getattr(action, "job", None)
    slot, pod = getattr(action, "slot", None), getattr(action, "pod", None)
    return logs.keys(
        action=type(action).__name__,
        evaluation=evaluation.name if evaluation else job.evaluation if job else None,
        job=job.name if job else None,
        pod=pod.name if pod else None,
        slot=slot.index if slot else None,
        attempt=job.attempt if job else pod.attempt if pod else None,
        **more,
    )
