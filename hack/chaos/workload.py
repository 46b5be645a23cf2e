"""The clients of a campaign: they submit evaluations, cancel, hold, reprioritise and delete them.

Their actions are drawn from a seed. Which evaluation an action affects also depends on the progress of the system.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, NamedTuple

from deployment import CommandFailed, Deployment

from chaos.observer import ClusterObserver
from chaos.planned_evaluations import generate_evaluations
from chaos.records import CampaignRecords, EvaluationRecord, RefusedEvaluation, StatusSnapshot
from lmms_eval_core import names
from lmms_eval_core.phases import TERMINAL

LogEvent = Callable[[str], None]
Object = dict[str, Any]
# How many evaluations are queued or running at any time.
OPEN_EVALUATIONS: Final = 4
MEAN_DELAY_SECONDS: Final = 12.0
# Longer than any outage of the API server.
REQUEST_TIMEOUT_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.3
# The order is part of what a seed means.
ACTION_WEIGHTS: Final = {"cancel": 4, "hold": 3, "priority": 3, "delete": 2}
HOLD_SECONDS: Final = 15.0
# In every refusal by the schema or by a policy. "Forbidden" alone is not one: an API server that has just started
# answers so until it knows its policies.
REFUSAL_TEXTS: Final = (" denied request: ", " is invalid: ")


class AdmissionRefused(Exception):
    """Admission refused an object for good; the API server's message is the exception's."""


class ClientAction(NamedTuple):
    """An action of a client, due `delay_seconds` after the one before.

    `random_value`, uniform in [0, 1), selects the evaluation and, for `priority`, its new priority.
    """

    delay_seconds: float
    kind: str
    random_value: float


def generate_actions(seed: int) -> Iterator[ClientAction]:
    """Yield client actions without end; equal seeds give equal actions."""
    # The text and the order of the draws are part of what a seed means: a change of either changes every campaign.
    random = Random(f"{seed}/wishes")
    while True:
        delay = random.expovariate(1 / MEAN_DELAY_SECONDS)
        kind = random.choices(list(ACTION_WEIGHTS), list(ACTION_WEIGHTS.values()))[0]
        yield ClientAction(delay, kind, random.random())


class Workload:
    """All clients in one thread."""

    def __init__(
        self,
        release: Deployment,
        records: CampaignRecords,
        observer: ClusterObserver,
        *,
        seed: int,
        log_event: LogEvent,
    ) -> None:
        self._release, self._records, self._observer, self._log_event = release, records, observer, log_event
        self._evaluations, self._actions = generate_evaluations(seed), generate_actions(seed)
        self._held_until: dict[str, float] = {}
        self._last_action_at = time.monotonic()
        self._next_action = next(self._actions)

    def run(self, stop: threading.Event) -> None:
        """Submit and act until `stop` is set; then release every hold."""
        while not stop.wait(POLL_SECONDS):
            self._submit()
            self._release_holds(time.monotonic())
            if time.monotonic() - self._last_action_at >= self._next_action.delay_seconds:
                self._perform(self._next_action)
                self._last_action_at, self._next_action = time.monotonic(), next(self._actions)
        self._release_holds(float("inf"))

    def _list_open(self) -> list[EvaluationRecord]:
        """Return the evaluations that have not ended, as far as the observer has seen."""
        evaluations = self._records.evaluations.values()
        return [record for record in evaluations if not record.deleted and not self._has_ended(record)]

    def _has_ended(self, record: EvaluationRecord) -> bool:
        history = self._observer.histories.get(record.uid, [])
        return bool(history) and history[-1].phase in TERMINAL

    def _submit(self) -> None:
        """Submit one evaluation unless enough of them are open."""
        if len(self._list_open()) >= OPEN_EVALUATIONS:
            return
        evaluation = next(self._evaluations)
        try:
            item = self._request("create", "-f", "-", stdin=evaluation.manifest)
        except AdmissionRefused as refused:
            self._records.add_refusal(RefusedEvaluation(evaluation, str(refused)))
            self._log_event(f"submit {evaluation.name} (refused by admission)")
            return
        if item is None:
            item = self._request("get", names.SINGULAR, evaluation.name)
        assert item is not None, f"{evaluation.name} was created, but the API server does not have it"
        self._records.add_evaluation(EvaluationRecord(evaluation, item["metadata"]["uid"]))
        self._log_event(f"submit {evaluation.name}")

    def _perform(self, action: ClientAction) -> None:
        candidates = sorted(self._list_open(), key=lambda record: record.evaluation.name)
        if not candidates:
            return
        record = candidates[int(action.random_value * len(candidates))]
        match action.kind:
            case "cancel":
                self._cancel(record)
            case "hold":
                self._hold(record)
            case "delete":
                self._delete(record)
            case "priority":
                self._set_priority(record, int(action.random_value * 21) - 10)

    def _cancel(self, record: EvaluationRecord) -> None:
        if snapshot := self._patch(record, cancel=True):
            record.cancelled = record.cancelled or snapshot
            self._record_change("cancel", record, snapshot)

    def _hold(self, record: EvaluationRecord) -> None:
        if record.held is None and (snapshot := self._patch(record, hold=True)):
            record.held = snapshot
            self._held_until[record.evaluation.name] = time.monotonic() + HOLD_SECONDS
            self._record_change("hold", record, snapshot)

    def _set_priority(self, record: EvaluationRecord, priority: int) -> None:
        if snapshot := self._patch(record, priority=priority):
            self._record_change("priority", record, snapshot)

    def _delete(self, record: EvaluationRecord) -> None:
        record.deleted = True
        self._request("delete", names.SINGULAR, record.evaluation.name, "--wait=false", "-o", "name")
        self._records.count_event("delete")
        self._log_event(f"delete {record.evaluation.name}")

    def _release_holds(self, now: float) -> None:
        """Release the holds that end at `now` or before."""
        for name in [name for name, until in self._held_until.items() if until <= now]:
            del self._held_until[name]
            record = self._records.evaluations[name]
            snapshot = None if record.deleted else self._patch(record, hold=False)
            if snapshot and record.held:
                record.started_on_hold |= record.held.phase == "Queued" and snapshot.attempt > record.held.attempt
                record.held = None
                self._record_change("release", record, snapshot)

    def _record_change(self, kind: str, record: EvaluationRecord, snapshot: StatusSnapshot) -> None:
        self._records.count_event(kind)
        self._log_event(f"{kind} {record.evaluation.name} ({snapshot.phase}, attempt {snapshot.attempt})")

    def _patch(self, record: EvaluationRecord, **spec: Any) -> StatusSnapshot | None:
        """Change the spec; return the evaluation's status at that moment, or None if it is gone."""
        patch = json.dumps({"spec": spec})
        item = self._request("patch", names.SINGULAR, record.evaluation.name, "--type=merge", "--patch", patch)
        status = item["status"] if item else {}
        return StatusSnapshot(status["phase"], status.get("attempt", 0)) if item else None

    def _request(self, *arguments: str, stdin: Object | None = None) -> Object | None:
        """Run kubectl, again and again while it fails; return the object of the answer.

        None if the object is gone, or exists already. Raises AdmissionRefused if admission refuses it, and
        CommandFailed if kubectl still fails after REQUEST_TIMEOUT_SECONDS.
        """
        manifest = None if stdin is None else json.dumps(stdin)
        command = ["--namespace", self._release.namespace, "--request-timeout=10s", *arguments]
        command += [] if "-o" in arguments else ["-o", "json"]
        deadline = time.monotonic() + REQUEST_TIMEOUT_SECONDS
        while True:
            done = self._release.kubectl.run(*command, stdin=manifest)
            if done.returncode == 0:
                return dict(json.loads(done.stdout)) if done.stdout.startswith("{") else None
            if "(NotFound)" in done.stderr or "(AlreadyExists)" in done.stderr:
                return None
            if any(text in done.stderr for text in REFUSAL_TEXTS):
                raise AdmissionRefused(done.stderr.strip())
            if time.monotonic() >= deadline:
                raise CommandFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
            time.sleep(POLL_SECONDS)
