"""The loop: look, plan, apply, until there is nothing to do; then wait for an event or for time to pass.

While another replica leads it only keeps the view, by a list now and then beside the watch, and writes nothing. Each
term of its own begins with a fresh list.

An API server that is away is backed off from, and then asked for fresh lists, because the write that failed may have
happened. What fails about one object, refused or by a defect of ours, concerns that object alone: it is logged,
counted, written into its evaluation's message and tried again after a wait of its own (`action_failures`). A defect
that is about no object ends the process, and the next one carries on from what the API server holds.
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
from lmms_eval_operator.actions import (
    ACTION_PHRASES,
    Action,
    CreateJob,
    LookAgain,
    MarkRunning,
    ReadEvents,
    Report,
    find_evaluation_uid,
    identify,
)
from lmms_eval_operator.apply import Executor
from lmms_eval_operator.clock import Now
from lmms_eval_operator.observe import Observer
from lmms_eval_operator.plan import is_due, plan
from lmms_eval_operator.structured_log import log_fields
from lmms_eval_operator.view import View

PERIOD_SECONDS: Final = 15.0
RELIST_SECONDS: Final = 60.0
# Ten thousand evaluations are seconds of work, here and in the API server: a list that takes longer than this is made
# rarer in proportion. The watch tells of all of them; the list is for what it may have missed, and every start looks at
# its own live.
QUICK_LIST_SECONDS: Final = 0.5
RAREST: Final = 10.0
# Most replicas are elected or not within a fraction of a second; to list before that would be to list twice.
FIRST_TERM_SECONDS: Final = 2.0
FIRST_BACKOFF: Final = 0.5
LAST_BACKOFF: Final = 5.0
# A pass that goes on for longer lets the others have their turn; far more than a start and an end take.
MAX_ROUNDS: Final = 100
# How often one action may meet something new in a pass before it has to wait for the next pass, and how soon that
# comes.
MAX_CONFLICTS: Final = 3
CONFLICT_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


@dataclass
class Health:
    """What the probes tell, on the monotonic clock."""

    clock: Callable[[], float]
    beat_at: float = float("-inf")
    good_at: float = float("-inf")

    def record_beat(self) -> None:
        """Record that the loop turns."""
        self.beat_at = self.clock()

    def record_good_pass(self) -> None:
        """Record that a pass ended without an error."""
        self.good_at = self.clock()


@dataclass
class Reconciler:
    """Runs until cancelled. `wake` makes it look at once; `listed` is set once it knows everything.

    `term` returns which term as the leader this is, 0 while another leads; `elected` is set when one begins.
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
    on_pass: Callable[[float, bool], None] = lambda seconds, good: None
    """Called with the seconds that each pass took, and whether it ended without an error."""
    on_failure: Callable[[str, str], None] = lambda action, how: None
    """Called with each action that failed about its object, and whether it was refused or is a defect."""
    _term: int = 0
    _listed_at: float = float("-inf")
    _evaluations_due_at: float = float("-inf")
    _backoff: float = FIRST_BACKOFF

    async def run(self) -> None:
        """Run passes until cancelled."""
        self.health.record_beat()
        if not self.term():
            await _wait_for(self.elected, FIRST_TERM_SECONDS)
        while True:
            self.health.record_beat()
            self.wake.clear()
            self.elected.clear()
            wait = await self._run_pass()
            self.health.record_beat()
            await self._sleep(wait)

    async def _run_pass(self) -> float:
        """Run one pass; return for how many seconds to wait, unless something happens."""
        began = self.clock()
        try:
            wait = await self.work()
        except errors.KubeError as error:
            self.on_pass(self.clock() - began, False)
            return self._back_off(error)
        self.on_pass(self.clock() - began, True)
        self._backoff = FIRST_BACKOFF
        self.health.record_good_pass()
        return wait

    async def work(self) -> float:
        """Do what there is to do; return for how many seconds nothing is due after that. Raises KubeError."""
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
            self.view.refresh(now.monotonic)
            actions = plan(self.view, now)
            ready = [
                action
                for action in actions
                if is_due(self.view, action, now) and conflicts[identify(action)] < MAX_CONFLICTS
            ]
            if not ready:
                return min([CONFLICT_SECONDS if conflicts else PERIOD_SECONDS, *self._list_waits(actions, now)])
            await self._apply_all(ready, term, conflicts)
        log.warning("still busy after many rounds", extra=log_fields(rounds=MAX_ROUNDS))
        return 0.0

    def _list_waits(self, actions: Sequence[Action], now: Now) -> Iterator[float]:
        for action in actions:
            if isinstance(action, LookAgain):
                yield action.seconds
            elif wait := self.view.failures.seconds_until_due(identify(action), now.monotonic):
                yield wait

    async def _list(self, term: int) -> None:
        began = self.clock()
        evaluations = term != self._term or began >= self._evaluations_due_at
        await self.observer.read_everything(make_slots=term > 0, evaluations=evaluations)
        if evaluations:
            rarer = min(max((self.clock() - began) / QUICK_LIST_SECONDS, 1.0), RAREST)
            self._evaluations_due_at = self.clock() + self.relist_seconds * rarer
        if term != self._term:
            self.view.forget_times()
        self._term, self._listed_at = term, self.clock()
        self.listed.set()

    async def _apply_all(self, actions: Sequence[Action], term: int, conflicts: Counter[str]) -> None:
        """Apply all actions of one plan, while the term lasts.

        One that fails holds up no other: each has its precondition.
        """
        for action in actions:
            if self.term() != term:
                return
            self.health.record_beat()
            try:
                if await self._apply(action, conflicts):
                    self.view.failures.record_success(identify(action))
            except (errors.Invalid, errors.Forbidden, errors.NotAdmitted) as error:
                await self._record_failure(action, "refused", error.message)
            except errors.KubeError:
                raise
            except Exception as error:
                log.exception("a defect, about one object", extra=_make_log_fields(action))
                await self._record_failure(action, "defect", f"{type(error).__name__}: {error}")

    async def _apply(self, action: Action, conflicts: Counter[str]) -> bool:
        """Apply the action, or look again where it met something new; return whether it was done."""
        try:
            await self.executor.apply(action)
        except (errors.Conflict, errors.NotFound) as error:
            conflicts[identify(action)] += 1
            log.info("looking again", extra=_make_log_fields(action, cause=error.message))
            await self.executor.look_again(action)
            return False
        level = logging.DEBUG if isinstance(action, ReadEvents | Report) else logging.INFO
        log.log(level, "done", extra=_make_log_fields(action))
        return True

    async def _record_failure(self, action: Action, how: str, cause: str) -> None:
        """Back off, for this action alone, and write the failure into the message of its evaluation."""
        message = f"the operator could not {ACTION_PHRASES[type(action)]} and tries again: {cause}"
        uid = find_evaluation_uid(action)
        failure = self.view.failures.record_failure(identify(action), uid=uid, message=message, now=self.clock())
        self.on_failure(type(action).__name__, how)
        log.error("could not be done", extra=_make_log_fields(action, how=how, cause=cause, failures=failure.times))
        if isinstance(action, Report):
            return
        try:
            if how == "defect" and isinstance(action, CreateJob | MarkRunning):
                await self.executor.refuse(action.evaluation, f"no Job can be made of this evaluation: {cause}")
            else:
                await self.executor.report_failure(uid, message)
        except Exception:
            log.exception("could not be told", extra=_make_log_fields(action))

    def _back_off(self, error: errors.KubeError) -> float:
        wait = max(self._backoff * random.uniform(0.5, 1.5), getattr(error, "retry_after", 0.0))
        self._backoff = min(self._backoff * 2, LAST_BACKOFF)
        self._listed_at = self._evaluations_due_at = float("-inf")
        self.view.record_outage()
        log.warning(
            "the API server refused or did not answer", extra=log_fields(cause=error.message, wait=round(wait, 1))
        )
        return wait

    async def _sleep(self, seconds: float) -> None:
        # While backing off, events are no reason to hurry: they are what a struggling API server sends in plenty. Being
        # elected is one, since the election itself takes an API server that answers.
        await _wait_for(self.elected if self._backoff > FIRST_BACKOFF else self.wake, seconds)


async def _wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, for `seconds` at most."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _make_log_fields(action: Action, **more: object) -> dict[str, object]:
    """Return the log fields of an action: the same keys for the same things, whatever the action."""
    evaluation, job = getattr(action, "evaluation", None), getattr(action, "job", None)
    slot, pod = getattr(action, "slot", None), getattr(action, "pod", None)
    return log_fields(
        action=type(action).__name__,
        evaluation=evaluation.name if evaluation else job.evaluation if job else None,
        job=job.name if job else None,
        pod=pod.name if pod else None,
        slot=slot.index if slot else None,
        attempt=job.attempt if job else pod.attempt if pod else None,
        **more,
    )
