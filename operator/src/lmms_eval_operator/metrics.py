"""What Prometheus reads at /metrics: how the queue does and how this process does. docs/operations.md lists the
metrics.

Labels are bounded: phases, reasons, verbs; never the name of an evaluation, a model or a task. Counters and histograms
tell of what this process did since it started; the gauges of queue and slots are told by the leader alone, so that they
can be summed over the replicas.
"""

from collections import Counter as Count
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.metadata import version
from operator import attrgetter
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from lmms_eval_core.failures import BY_REASON, ENDINGS
from lmms_eval_core.kube.client import Resource
from lmms_eval_core.phases import TERMINAL, Phase, Reason
from lmms_eval_operator.actions import ACTION_PHRASES
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.view import View

# The reasons of evaluations that have not ended, by phase; the others are those of endings.
QUEUED: Final = (
    Reason.WAITING_FOR_TURN,
    Reason.WAITING_FOR_BASELINE,
    Reason.ON_HOLD,
    Reason.RETRYING,
    Reason.JOB_REFUSED,
    Reason.QUEUE_PAUSED,
)
RUNNING: Final = (
    Reason.STARTING,
    Reason.UNSCHEDULABLE,
    Reason.VOLUME_PENDING,
    Reason.PULLING_IMAGE,
    Reason.IMAGE_PULL_ERROR,
    Reason.LOADING_MODEL,
    Reason.EVALUATING,
    Reason.SCORING,
    Reason.PUBLISHING,
    Reason.STALLED,
    Reason.NODE_UNREACHABLE,
    Reason.CANCELLING,
)
PLACES: Final = [*((Phase.QUEUED, reason) for reason in QUEUED), *((Phase.RUNNING, reason) for reason in RUNNING)]
WRITES: Final = frozenset({"create", "replace", "patch", "delete"})
MINUTE, HOUR, DAY = 60, 3600, 86400
WAITS: Final = (
    1,
    5,
    15,
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
    DAY,
    3 * DAY,
)
RUNS: Final = (15, MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, DAY)
PASSES: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
REQUESTS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)

# A second series beside each counter and histogram, for when it was made, that nobody asks for. The library gives it no
# types.
disable_created_metrics()  # type: ignore[no-untyped-call]


class QueueGauges(Collector):
    """The gauges that are counted when somebody looks: evaluations and slots, by the leader's view."""

    def __init__(self, view: View, leading: Callable[[], bool]) -> None:
        self._view = view
        self._leading = leading

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count once. Ten thousand evaluations cost about a millisecond."""
        leading = self._leading()
        yield GaugeMetricFamily(
            "lmmseval_leader", "Whether this replica works the queue (1) or stands by (0).", value=leading
        )
        evaluations = GaugeMetricFamily(
            "lmmseval_evaluations", "Evaluations that have not ended, by where they are.", labels=("phase", "reason")
        )
        slots = GaugeMetricFamily("lmmseval_slots", "Slots: evaluations that may run at once.", labels=("state",))
        if leading:
            self._count_evaluations(evaluations)
            self._count_slots(slots)
        yield evaluations
        yield slots

    def _count_evaluations(self, family: GaugeMetricFamily) -> None:
        count = Count(map(attrgetter("reason"), self._view.evaluations))
        for phase, reason in PLACES:
            family.add_metric((phase.value, reason.value), count[reason])

    def _count_slots(self, family: GaugeMetricFamily) -> None:
        held = sum(not slot.register.free for slot in self._view.slots.values())
        family.add_metric(("held",), held)
        family.add_metric(("free",), len(self._view.slots) - held)


class OperatorMetrics:
    """All metrics of the operator, in a registry of their own; each method records one kind of thing."""

    def __init__(self, view: View, *, leading: Callable[[], bool], time: Callable[[], datetime]) -> None:
        self._time = time
        self.registry = CollectorRegistry()
        self.registry.register(QueueGauges(view, leading))
        ProcessCollector(registry=self.registry)
        self._add_build_info()
        self._add_evaluation_metrics()
        self._add_process_metrics()

    def _add_build_info(self) -> None:
        build = Gauge(
            "lmmseval_build_info", "1, labelled with the version of the operator.", ["version"], registry=self.registry
        )
        build.labels(version("lmms-eval-operator")).set(1)

    def _add_evaluation_metrics(self) -> None:
        into = self.registry
        self._waited = Histogram(
            "lmmseval_queue_wait_seconds",
            "From the creation of an evaluation to its first start.",
            buckets=WAITS,
            registry=into,
        )
        self._ran = Histogram(
            "lmmseval_run_seconds",
            "From the first start of an evaluation to its end.",
            ["outcome"],
            buckets=RUNS,
            registry=into,
        )
        self._attempts = Counter("lmmseval_attempts_total", "Attempts that were started.", registry=into)
        self._retries = Counter(
            "lmmseval_retries_total", "Attempts that ended and are followed by another one.", ["reason"], registry=into
        )
        self._finished = Counter(
            "lmmseval_finished_total", "Evaluations that ended.", ["outcome", "reason"], registry=into
        )
        # Known from the start, so that the first one is an increase.
        for ending in ENDINGS:
            self._finished.labels(find_outcome(ending.reason), ending.reason.value)
            if ending.retry:
                self._retries.labels(ending.reason.value)
        for phase in TERMINAL:
            self._ran.labels(phase.value)

    def _add_process_metrics(self) -> None:
        into = self.registry
        self._passes = Histogram(
            "lmmseval_reconcile_seconds",
            "Passes of the loop: look, plan, apply.",
            ["result"],
            buckets=PASSES,
            registry=into,
        )
        self._requests = Histogram(
            "lmmseval_request_seconds",
            "Requests to the API server.",
            ["verb", "result"],
            buckets=REQUESTS,
            registry=into,
        )
        self._writes = Counter(
            "lmmseval_writes_total", "Writes to the API server.", ["resource", "verb", "result"], registry=into
        )
        self._failures = Counter(
            "lmmseval_action_failures_total",
            "Actions that failed about their object alone, by what it was: refused, or a defect of the operator.",
            ["action", "cause"],
            registry=into,
        )
        # Known from the start, so that the first one is an increase.
        for action in (*(kind.__name__ for kind in ACTION_PHRASES), "Learn"):
            for cause in ("refused", "defect"):
                self._failures.labels(action, cause)
        self._events = Counter("lmmseval_events_total", "Kubernetes events on evaluations.", ["result"], registry=into)
        self._heard = Gauge(
            "lmmseval_watch_last_event_timestamp_seconds", "When a watch last told of a change.", registry=into
        )
        self._moved = Gauge(
            "lmmseval_last_move_timestamp_seconds",
            "When this process last moved an evaluation, which a watch then tells of.",
            registry=into,
        )

    def record_move(self, before: Evaluation, after: Evaluation) -> None:
        """Record that an evaluation has moved."""
        self._moved.set(self._time().timestamp())
        if before.phase is Phase.QUEUED and after.phase is Phase.RUNNING:
            self._attempts.inc()
            if not before.attempt:
                self._waited.observe(self._seconds_since(after.created_at))
        elif before.phase is Phase.RUNNING and after.phase is Phase.QUEUED:
            self._retries.labels(find_retry_cause(after)).inc()
        elif after.is_terminal:
            self._finished.labels(after.phase.value, keep_known_reason(after.reason)).inc()
            if after.started_at:
                self._ran.labels(after.phase.value).observe(self._seconds_since(after.started_at))

    def record_pass(self, seconds: float, good: bool) -> None:
        """Record a pass of the loop."""
        self._passes.labels("ok" if good else "error").observe(seconds)

    def record_request(self, resource: Resource, verb: str, *, result: str, seconds: float) -> None:
        """Record a request to the API server."""
        self._requests.labels(verb, result).observe(seconds)
        if verb in WRITES:
            self._writes.labels(resource.plural, verb, result).inc()

    def record_failure(self, action: str, cause: str) -> None:
        """Record an action that was `refused`, or met a `defect`, and is tried again."""
        self._failures.labels(action, cause).inc()

    def record_watch_event(self) -> None:
        """Record an event of a watch."""
        self._heard.set(self._time().timestamp())

    def record_event(self, result: str) -> None:
        """Record a Kubernetes event: written, repeated, suppressed or dropped."""
        self._events.labels(result).inc()

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self.registry)

    def _seconds_since(self, timestamp: str) -> float:
        return max(0.0, (self._time() - datetime.fromisoformat(timestamp)).total_seconds())


def find_outcome(reason: Reason) -> str:
    """Return the phase in which an evaluation ends for this reason."""
    return {Reason.SUCCEEDED: Phase.COMPLETED, Reason.CANCELLED_BY_USER: Phase.CANCELLED}.get(
        reason, Phase.FAILED
    ).value


def find_retry_cause(evaluation: Evaluation) -> str:
    """Return the reason of the last attempt's end."""
    return keep_known_reason(str(evaluation.attempts[-1].get("reason") or "")) if evaluation.attempts else "Unknown"


def keep_known_reason(reason: str) -> str:
    """Return the reason if it is in the table of endings, else Unknown: labels are bounded whatever the
    status holds.
    """
    return reason if reason in BY_REASON else "Unknown"
