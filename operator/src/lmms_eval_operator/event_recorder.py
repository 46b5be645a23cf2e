"""Records events on the LMMEvaluation, for `kubectl describe`: one for each move, written in the background.

One more says that an attempt goes on with answers of earlier ones, or does not though there are some.
An `EventRecorder` listens (`transitions`) and puts events into a bounded queue; `run` writes them. Neither a slow API
server nor one that is away holds up the reconciler or costs memory: what does not fit is dropped and counted.

They are core/v1 events, as `kubectl describe` sorts by lastTimestamp and counts by count, which the newer kind has not.
Their names follow from the move: one that is recorded again, by us or by another operator, raises a count.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from lmms_eval_core import names
from lmms_eval_core.failures import ENDINGS
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVENTS, KubeClient, Object
from lmms_eval_core.phases import TERMINAL, Phase, Reason
from lmms_eval_core.quality_gate.verdict import GateVerdict
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_core.status import ResumedProgress, describe_not_kept, describe_resumed, describe_started_anew
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.structured_log import log_fields
from lmms_eval_operator.transitions import find_resume_facts, has_moved

COMPONENT: Final = "lmms-eval-operator"
QUEUED_EVENTS: Final = 512
PAUSE_SECONDS: Final = 0.05
FIRST_BACKOFF: Final = 0.5
LAST_BACKOFF: Final = 15.0
# An event that could not be written for so long is older than anybody looks.
GIVE_UP_SECONDS: Final = 600.0
# What one evaluation may say: enough for a run with all its retries; after that one a minute, and always its end.
BURST: Final = 40
REFILL_SECONDS: Final = 60.0
REMEMBERED: Final = 1024
MAX_MESSAGE: Final = 1024

ALARMING: Final = frozenset(
    {
        Reason.RETRYING,
        Reason.JOB_REFUSED,
        Reason.QUEUE_PAUSED,
        Reason.UNSCHEDULABLE,
        Reason.VOLUME_PENDING,
        Reason.IMAGE_PULL_ERROR,
        Reason.STALLED,
        Reason.NODE_UNREACHABLE,
    }
)
# For reasons that need no sentence in the status, where the phase stands beside them.
SENTENCES: Final[dict[str, str]] = {
    **{ending.reason: ending.meaning for ending in ENDINGS},
    Reason.WAITING_FOR_TURN: "waits for a slot",
    Reason.WAITING_FOR_BASELINE: "waits for the evaluation that its gate compares with",
    Reason.PULLING_IMAGE: "the node pulls the image",
    Reason.LOADING_MODEL: "lmms-eval loads the model",
    Reason.EVALUATING: "the model answers",
    Reason.SCORING: "the answers are scored",
    Reason.PUBLISHING: "files go to the store, scores into the status",
}
# Events of the same second are shown in the order of their names: as an attempt goes.
ORDER: Final = {Phase.RUNNING: 0, Phase.QUEUED: 1, **dict.fromkeys(TERMINAL, 2)}
REASONS: Final = [reason.value for reason in Reason]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """One event to be written."""

    body: Object
    queued_at: float

    @property
    def name(self) -> str:
        """The event's name."""
        return str(self.body["metadata"]["name"])

    @property
    def keys(self) -> dict[str, object]:
        """Fields for log lines."""
        return {
            "evaluation": self.body["involvedObject"]["name"],
            "reason": self.body["reason"],
            "event_name": self.name,
        }


class EventRecorder:
    """Queues moves by `record_move`, writes them in `run`. `instance` names this process; `count` gets each result."""

    def __init__(
        self,
        client: KubeClient,
        *,
        instance: str,
        clock: Callable[[], float],
        time: Callable[[], datetime],
        count: Callable[[str], None] = lambda result: None,
    ) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._time = time
        self._count = count
        self._queue: asyncio.Queue[QueuedEvent] = asyncio.Queue(QUEUED_EVENTS)
        self._allowance = EventAllowance(clock)

    def record_move(self, before: Evaluation, after: Evaluation) -> None:
        """Queue the events of a move, unless the evaluation has caused too many."""
        source = {"namespace": self._client.namespace, "instance": self._instance}
        if facts := find_resume_facts(before, after):
            for event in build_resume_events(after, facts, **source, now=self._time()):
                self._enqueue(after, event)
        if has_moved(before, after):
            self._enqueue(after, build_event(before, after, **source, now=self._time()))
            if after.is_terminal and after.gate:
                self._enqueue(after, build_gate_event(after, after.gate, **source, now=self._time()))

    def _enqueue(self, evaluation: Evaluation, body: Object) -> None:
        if not evaluation.is_terminal and not self._allowance.take(evaluation.uid):
            self._count("suppressed")
            return
        try:
            self._queue.put_nowait(QueuedEvent(body, self._clock()))
        except asyncio.QueueFull:
            self._drop(QueuedEvent(body, self._clock()), "too many wait to be written")

    async def run(self) -> None:
        """Write queued events until cancelled."""
        while True:
            note = await self._queue.get()
            try:
                await self._deliver(note)
            except Exception as error:
                log.exception("a defect, about one event", extra=log_fields(**note.keys))
                self._drop(note, type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _deliver(self, note: QueuedEvent) -> None:
        backoff = FIRST_BACKOFF
        while True:
            try:
                await self._write(note)
            except (errors.Invalid, errors.Forbidden) as error:
                return self._drop(note, error.message)
            except errors.KubeError as error:
                if self._clock() - note.queued_at > GIVE_UP_SECONDS:
                    return self._drop(note, error.message)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LAST_BACKOFF)
            else:
                return

    async def _write(self, note: QueuedEvent) -> None:
        try:
            await self._client.create(EVENTS, note.body)
        except errors.AlreadyExists:
            await self._repeat(note)
            self._count("repeated")
        else:
            self._count("written")
        log.debug("event written", extra=log_fields(**note.keys))

    async def _repeat(self, note: QueuedEvent) -> None:
        """Raise the count of the event with the same name; Conflict if somebody else just did."""
        known = await self._client.get(EVENTS, note.name)
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": known["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/count", "value": (known.get("count") or 1) + 1},
            {"op": "add", "path": "/lastTimestamp", "value": note.body["lastTimestamp"]},
            {"op": "add", "path": "/message", "value": note.body["message"]},
        ]
        await self._client.json_patch(EVENTS, note.name, patch)

    def _drop(self, note: QueuedEvent, cause: str) -> None:
        self._count("dropped")
        log.warning("event dropped", extra=log_fields(**note.keys, cause=cause))


class EventAllowance:
    """How many events each evaluation may still cause: one that flaps between two reasons must not flood the API
    server.
    """

    def __init__(self, clock: Callable[[], float], remembered: int = REMEMBERED) -> None:
        self._clock = clock
        self._remembered = remembered
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, uid: str) -> bool:
        """Count one event of this evaluation; return False if it has had too many."""
        now = self._clock()
        left, at = self._left.pop(uid, (float(BURST), now))
        left = min(float(BURST), left + (now - at) / REFILL_SECONDS)
        self._left[uid] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > self._remembered:
            self._left.popitem(last=False)
        return left >= 1


class EventText(NamedTuple):
    """What an event says: one word, one sentence, and what the operator did."""

    reason: str
    message: str
    action: str
    alarming: bool


def build_event(before: Evaluation, after: Evaluation, *, namespace: str, instance: str, now: datetime) -> Object:
    """Build the event of a move."""
    text = EventText(after.reason, describe_move(before, after, now), name_action(before, after), is_alarming(after))
    return _fill_event(after, name_event(after), text, namespace=namespace, instance=instance, now=now)


def build_resume_events(
    after: Evaluation, facts: Object, *, namespace: str, instance: str, now: datetime
) -> list[Object]:
    """Build the events that say what `facts` say of the answers of earlier attempts, and of its own."""
    evaluating = name_event(replace(after, phase=Phase.RUNNING, reason=Reason.EVALUATING))
    return [
        _fill_event(after, f"{evaluating}-{text.reason.lower()}", text, namespace=namespace, instance=instance, now=now)
        for text in describe_resume(facts)
    ]


def build_gate_event(after: Evaluation, gate: Object, *, namespace: str, instance: str, now: datetime) -> Object:
    """Build the event that says what the gate of an evaluation that has ended says."""
    verdict, message = (str(gate.get(name) or "") for name in ("verdict", "message"))
    failed = verdict == GateVerdict.FAILED
    text = EventText(f"Gate{verdict}", message or str(gate.get("reason")), "Finish", failed)
    return _fill_event(after, f"{name_event(after)}-gate", text, namespace=namespace, instance=instance, now=now)


def describe_resume(facts: Object) -> list[EventText]:
    """Return the texts of those events."""
    texts = []
    if "resumed" in facts:
        resumed = ResumedProgress.model_validate(facts["resumed"])
        message = describe_resumed(resumed.answers, resumed.from_attempt, resumed.exactness)
        texts.append(EventText("Resumed", message, "Report", False))
    elif "startedAnew" in facts:
        texts.append(EventText("StartedAnew", describe_started_anew(facts["startedAnew"]), "Report", True))
    if "notKept" in facts:
        texts.append(EventText("AnswersNotKept", describe_not_kept(facts["notKept"]), "Report", True))
    return texts


def _fill_event(
    after: Evaluation, name: str, text: EventText, *, namespace: str, instance: str, now: datetime
) -> Object:
    at = format_rfc3339(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": after.name,
            "namespace": namespace,
            "uid": after.uid,
            "resourceVersion": after.version,
        },
        "type": "Warning" if text.alarming else "Normal",
        "reason": text.reason,
        "message": text.message[:MAX_MESSAGE],
        "action": text.action,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def name_event(after: Evaluation) -> str:
    """Return the same name for the same evaluation, attempt, phase and reason; names of later moves sort later."""
    rank = f"{ORDER[after.phase]}{REASONS.index(after.reason):02}"
    return f"{after.name}.{after.uid[:8]}.{after.attempt:02}-{rank}-{after.phase.lower()}-{after.reason.lower()}"


def is_alarming(after: Evaluation) -> bool:
    """Return whether a person should look."""
    return after.phase is Phase.FAILED or after.reason in ALARMING


def name_action(before: Evaluation, after: Evaluation) -> str:
    """Return what the operator did."""
    if after.is_terminal:
        return "Finish"
    if before.phase is after.phase:
        return "Report"
    return "Start" if after.phase is Phase.RUNNING else "Requeue"


def describe_move(before: Evaluation, after: Evaluation, now: datetime) -> str:
    """Return the message of the event: the start, else the status's message, or what the reason means."""
    if before.phase is Phase.QUEUED and after.phase is Phase.RUNNING:
        return f"attempt {after.attempt} starts in slot {after.slot}{_describe_wait(before, now)}"
    return after.message or SENTENCES.get(after.reason, f"attempt {after.attempt}")


def _describe_wait(before: Evaluation, now: datetime) -> str:
    if before.attempt or not before.created_at:
        return ""
    seconds = (now - datetime.fromisoformat(before.created_at)).total_seconds()
    return f", {format_duration(seconds)} after it was created"


def format_duration(seconds: float) -> str:
    """Format as kubectl writes ages: 42s, 5m3s, 2h7m."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60}s"
    return f"{whole // 3600}h{whole % 3600 // 60}m"
