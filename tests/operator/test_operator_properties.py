"""The promises of the queue under every interleaving that hypothesis can think of.

Two operators at once, each stepped from one call to the next, so that both can sleep between any two writes; watches
that are late, repeat and lose events; crashes; users who change their minds; Jobs and pods deleted behind the
operator's back.
"""

import random
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from fake_api_server import ENDED, FakeCluster, is_bound
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from simulation import SETTINGS, SPEC, SimulatedOperator, start_attempts, submit_evaluation

from lmms_eval_core import names
from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, PODS, Object, Resource
from lmms_eval_core.phases import TERMINAL
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_operator.actions import LookAgain
from lmms_eval_operator.clock import Now
from lmms_eval_operator.derive import FROM_OUTSIDE, MAX_FREE_ATTEMPTS
from lmms_eval_operator.plan import plan

pytestmark = [pytest.mark.timeout(120), pytest.mark.search]

TIMERS: list[dict[str, int]] = [{}, {"timeoutSeconds": 120}, {"stallTimeoutSeconds": 70}]
PROGRESS: list[dict[str, Any]] = [
    {},
    {"kept": 5},
    {"kept": 5, "resumed": {"answers": 7, "fromAttempt": 1, "exactness": "exact"}},
    {"kept": 5, "startedAnew": "weights differ from attempt 1"},
]
EDITS: list[dict[str, Any]] = [{"cancel": True}, {"hold": True}, {"hold": False}, {"priority": 1}]


FORBIDDEN = errors.Forbidden("exceeded quota")
INVALID = errors.Invalid("the Job is invalid", {"details": {"causes": [{"field": "spec.template"}]}})
REFUSALS: dict[str | None, Callable[[Object], errors.KubeError | None]] = {
    None: lambda job: None,
    "quota": lambda job: FORBIDDEN,
    "spec": lambda job: INVALID,
}


class Queue(RuleBasedStateMachine):
    """The world, and what must always be true of it."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = FakeCluster()
        self.submitted = 0
        self.concurrency = 1
        self.operators: list[SimulatedOperator] = []
        self.ran: dict[str, str] = {}
        self.kept: set[str] = set()

    @initialize(concurrency=st.integers(1, 2))
    def begin(self, concurrency: int) -> None:
        """The first operator has started already, and there is work."""
        self.concurrency = concurrency
        self.operators = [SimulatedOperator(self.cluster, concurrency), SimulatedOperator(self.cluster, concurrency)]
        self.operators[0].finish_pass()
        for priority, retries, timers in ((0, 0, {}), (1, 2, {}), (0, 1, TIMERS[1])):
            self.submit(priority=priority, hold=False, retries=retries, timers=timers)

    @rule(priority=st.integers(-1, 1), hold=st.booleans(), retries=st.integers(0, 2), timers=st.sampled_from(TIMERS))
    def submit(self, priority: int, hold: bool, retries: int, timers: dict[str, int]) -> None:
        self.submitted += 1
        spec = {**SPEC, "priority": priority, "hold": hold, "retries": retries, **timers}
        self.cluster.create(
            EVALUATIONS, {"metadata": {"name": f"e{self.submitted}", "namespace": "test"}, "spec": spec}
        )

    @rule(data=st.data(), change=st.sampled_from(EDITS))
    def somebody_edits(self, data: st.DataObject, change: dict[str, Any]) -> None:
        if item := self._one(data, EVALUATIONS):
            item["spec"] |= change
            self.cluster.store(EVALUATIONS, item)

    @rule(data=st.data(), resource=st.sampled_from([EVALUATIONS, JOBS, PODS]))
    def somebody_deletes(self, data: st.DataObject, resource: Resource) -> None:
        if item := self._one(data, resource):
            self.cluster.delete(resource, item["metadata"]["name"], item["metadata"]["uid"])

    @rule(data=st.data())
    def the_controller_looks_at_a_job(self, data: st.DataObject) -> None:
        if job := self._one(data, JOBS):
            self.cluster.control_job(job)

    @rule()
    def the_controller_looks_at_all_jobs(self) -> None:
        for job in list(self.cluster.objects[JOBS].values()):
            self.cluster.control_job(job)

    @rule(refuses=st.sampled_from([None, "quota", "spec"]))
    def the_cluster_takes_jobs_or_refuses_them(self, refuses: str | None) -> None:
        self.cluster.job_admission = REFUSALS[refuses]

    @rule()
    def a_late_controller_creates_a_pod(self) -> None:
        """Its Job is gone by then, and the garbage collector sees that at some time."""
        if self.cluster.vanished_jobs:
            self.cluster.create_pod(self.cluster.vanished_jobs.pop())

    @rule(data=st.data())
    def the_controller_creates_another_pod(self, data: st.DataObject) -> None:
        """As after a preemption by Kueue, or when the answer to its first try was lost."""
        if (job := self._one(data, JOBS)) and not job.get("status"):
            self.cluster.create_pod(job)

    @rule()
    def the_garbage_collector_works(self) -> None:
        self.cluster.collect_garbage()

    @rule()
    def the_scheduler_works(self) -> None:
        self.cluster.schedule_pods()

    @rule(data=st.data(), facts=st.sampled_from(PROGRESS))
    def a_run_gets_on(self, data: st.DataObject, facts: dict[str, Any]) -> None:
        if (pod := self._one(data, PODS)) and is_bound(pod):
            at = format_rfc3339(self.cluster.time())
            self.cluster.report_status(pod, {"progress": {"stage": "Evaluating", "updatedAt": at, **facts}})
            if "kept" in facts:
                labels = pod["metadata"]["labels"]
                self.kept.add(f"{labels[names.LABEL_EVALUATION_UID]}/{labels[names.LABEL_ATTEMPT]}")

    @rule(data=st.data(), exit_code=st.sampled_from([0, 0, 65, 71, 137]), publishes=st.booleans())
    def a_pod_ends(self, data: st.DataObject, exit_code: int, publishes: bool) -> None:
        if (pod := self._one(data, PODS)) and is_bound(pod) and pod["status"]["phase"] not in ENDED:
            if publishes:
                self.cluster.publish_scores(pod)
            self.cluster.end_pod(pod, exit_code)

    @rule(seconds=st.sampled_from([1.0, 6.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.cluster.now += seconds

    @rule(which=st.integers(0, 1), calls=st.integers(1, 12))
    def an_operator_goes_on(self, which: int, calls: int) -> None:
        for _ in range(calls):
            if not self.operators[which].step():
                return

    @rule(which=st.integers(0, 1))
    def an_operator_does_all_it_can(self, which: int) -> None:
        self.operators[which].finish_pass()

    @rule(which=st.integers(0, 1), events=st.integers(1, 30))
    def an_operator_hears(self, which: int, events: int) -> None:
        self.operators[which].deliver_events(events)

    @rule(which=st.integers(0, 1), events=st.integers(-20, 5))
    def an_operator_misses_events_or_hears_them_again(self, which: int, events: int) -> None:
        self.operators[which].skip_events(events)

    @rule(which=st.integers(0, 1), leads=st.booleans())
    def an_operator_is_elected_or_stands_down(self, which: int, leads: bool) -> None:
        """Both may lead at once, or none."""
        self.operators[which].set_leading(leads)

    @rule(which=st.integers(0, 1))
    def an_operator_crashes(self, which: int) -> None:
        self.operators[which] = SimulatedOperator(self.cluster, self.concurrency)

    # The promises.

    @invariant()
    def a_slot_has_one_live_attempt(self) -> None:
        seen: dict[str, str] = {}
        for pod in self.cluster.list_live_pods():
            labels = pod["metadata"]["labels"]
            attempt = f"{labels[names.LABEL_EVALUATION_UID]}/{labels[names.LABEL_ATTEMPT]}"
            assert seen.setdefault(labels[names.LABEL_SLOT], attempt) == attempt, (seen, attempt)

    @invariant()
    def an_attempt_has_one_pod_on_a_node_ever(self) -> None:
        for pod in self.cluster.list_live_pods():
            labels, uid = pod["metadata"]["labels"], pod["metadata"]["uid"]
            attempt = f"{labels[names.LABEL_EVALUATION_UID]}/{labels[names.LABEL_ATTEMPT]}"
            assert self.ran.setdefault(attempt, uid) == uid, attempt

    @invariant()
    def nobody_has_more_attempts_than_he_may(self) -> None:
        for item in self.cluster.objects[EVALUATIONS].values():
            free = item["status"].get("freeAttempts", 0)
            assert item["status"].get("attempt", 0) <= item["spec"]["retries"] + 1 + free, item
            assert free <= MAX_FREE_ATTEMPTS, item

    @invariant()
    def only_what_got_on_and_was_ended_from_outside_spends_no_retry(self) -> None:
        for item in self.cluster.objects[EVALUATIONS].values():
            entries = [entry for entry in item["status"].get("attempts", []) if entry.get("free")]
            assert len(entries) <= item["status"].get("freeAttempts", 0), item
            assert all(entry["reason"] in FROM_OUTSIDE for entry in entries), item
            assert all(f"{item['metadata']['uid']}/{entry['number']}" in self.kept for entry in entries), item

    @invariant()
    def what_would_fail_again_is_not_tried_again(self) -> None:
        for item in self.cluster.objects[EVALUATIONS].values():
            *earlier, last = item["status"].get("attempts", []) or [None]
            waiting = [last] if item["status"]["reason"] == "Retrying" else []
            assert all(BY_REASON[entry["reason"]].retry for entry in (*earlier, *waiting)), item

    def teardown(self) -> None:
        """Left alone with one operator and a cluster that does its work, everything ends, and then there is rest."""
        self.cluster.job_admission = REFUSALS[None]
        for item in self.cluster.objects[EVALUATIONS].values():
            item["spec"]["hold"] = False
            self.cluster.store(EVALUATIONS, item)
        # Longer than anything waits that was refused.
        self.cluster.now += 301
        operator = SimulatedOperator(self.cluster, self.concurrency)
        for _ in range(20 * (self.submitted + 3)):
            self.cluster.now += 6
            start_attempts(self.cluster, operator)
            for pod in self.cluster.list_live_pods():
                self.cluster.publish_scores(pod)
                self.cluster.end_pod(pod, 0)
            self.a_slot_has_one_live_attempt()
            if self._at_rest(operator):
                return
        raise AssertionError(f"no rest: {self.cluster.objects}")

    def _at_rest(self, operator: SimulatedOperator) -> bool:
        phases = {item["status"]["phase"] for item in self.cluster.objects[EVALUATIONS].values()}
        if not phases <= {phase.value for phase in TERMINAL}:
            return False
        for _ in range(4):
            self.cluster.now += 6
            operator.finish_pass()
        writes = self.cluster.writes
        self.cluster.now += 61
        operator.finish_pass()
        assert self.cluster.writes == writes, "at rest nothing is written"
        assert all(slot.register.free for slot in operator.view.slots.values())
        now = Now(self.cluster.now, self.cluster.time())
        assert not [action for action in plan(operator.view, now) if not isinstance(action, LookAgain)]
        return True

    def _one(self, data: st.DataObject, resource: Resource) -> Object | None:
        items = self.cluster.objects[resource]
        return items[data.draw(st.sampled_from(sorted(items)))] if items else None


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


class LongHistory(Queue):
    """The same world driven by plain chance, with the odds that lead deep: hypothesis spreads its steps too evenly."""

    ODDS: ClassVar[dict[str, float]] = {
        "an_operator_goes_on": 12,
        "an_operator_does_all_it_can": 2,
        "an_operator_hears": 4,
        "an_operator_misses_events_or_hears_them_again": 1,
        "an_operator_crashes": 0.4,
        "an_operator_is_elected_or_stands_down": 1,
        "submit": 0.7,
        "the_cluster_takes_jobs_or_refuses_them": 0.7,
        "somebody_edits": 2,
        "somebody_deletes": 0.5,
        "the_controller_looks_at_all_jobs": 4,
        "the_controller_looks_at_a_job": 2,
        "a_late_controller_creates_a_pod": 2,
        "the_controller_creates_another_pod": 0.7,
        "the_garbage_collector_works": 0.7,
        "the_scheduler_works": 4,
        "a_pod_ends": 2,
        "a_run_gets_on": 3,
        "time_passes": 1,
    }

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)

    def live(self, steps: int) -> None:
        self.begin(concurrency=self.random.choice([1, 2]))
        for step in self.random.choices(list(self.ODDS), list(self.ODDS.values()), k=steps):
            getattr(self, step)(**self._arguments(step))
            self.a_slot_has_one_live_attempt()
            self.an_attempt_has_one_pod_on_a_node_ever()
            self.nobody_has_more_attempts_than_he_may()
            self.only_what_got_on_and_was_ended_from_outside_spends_no_retry()
            self.what_would_fail_again_is_not_tried_again()
        self.teardown()

    def _arguments(self, step: str) -> dict[str, Any]:
        pick = self.random.choice
        choices: dict[str, dict[str, Any]] = {
            "an_operator_goes_on": {"which": pick([0, 1]), "calls": pick([1, 1, 2, 3, 5, 12])},
            "an_operator_does_all_it_can": {"which": pick([0, 1])},
            "an_operator_hears": {"which": pick([0, 1]), "events": pick([1, 3, 30])},
            "an_operator_misses_events_or_hears_them_again": {"which": pick([0, 1]), "events": pick([-20, -5, 1, 5])},
            "an_operator_crashes": {"which": pick([0, 1])},
            "an_operator_is_elected_or_stands_down": {"which": pick([0, 1]), "leads": pick([True, True, False])},
            "submit": {
                "priority": pick([-1, 0, 1]),
                "hold": pick([True, False, False, False]),
                "retries": pick([0, 1, 2]),
                "timers": pick(TIMERS),
            },
            "the_cluster_takes_jobs_or_refuses_them": {"refuses": pick([None, None, "quota", "spec"])},
            "a_run_gets_on": {"data": None, "facts": pick(PROGRESS)},
            "somebody_edits": {"data": None, "change": dict(pick([*EDITS, {"hold": False}]))},
            "somebody_deletes": {"data": None, "resource": pick([EVALUATIONS, JOBS, PODS])},
            "the_controller_looks_at_a_job": {"data": None},
            "the_controller_creates_another_pod": {"data": None},
            "a_pod_ends": {"data": None, "exit_code": pick([0, 0, 65, 71, 137]), "publishes": pick([True, False])},
            "time_passes": {"seconds": pick([1.0, 6.0, 61.0])},
        }
        return choices.get(step, {})

    def _one(self, data: Any, resource: Resource) -> Object | None:
        items = self.cluster.objects[resource]
        return items[self.random.choice(sorted(items))] if items else None


def test_a_run_that_gets_on_and_is_always_ended_from_outside_has_an_end() -> None:
    """Its first two attempts keep nothing. All later ones follow each other after the shortest wait."""
    cluster = FakeCluster()
    operator = SimulatedOperator(cluster, 1)
    submit_evaluation(cluster, "a", retries=2)
    for _ in range(MAX_FREE_ATTEMPTS + 5):
        start_attempts(cluster, operator)
        for pod in cluster.list_live_pods():
            kept = 0 if pod["metadata"]["labels"][names.LABEL_ATTEMPT] in ("1", "2") else 1
            at = format_rfc3339(cluster.time())
            cluster.report_status(pod, {"progress": {"stage": "Evaluating", "updatedAt": at, "kept": kept}})
            cluster.end_pod(pod, 137)
        operator.finish_pass()
        cluster.now += SETTINGS.retry_backoff_seconds + 1
    status = cluster.objects[EVALUATIONS]["a"]["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Interrupted")
    assert (status["attempt"], status["freeAttempts"]) == (MAX_FREE_ATTEMPTS + 3, MAX_FREE_ATTEMPTS)
    assert status["message"].endswith("(after 53 attempts, 50 of which spent no retry)")


@pytest.mark.parametrize("seeds", [range(start, start + 25) for start in range(0, 100, 25)])
def test_long_histories(seeds: range) -> None:
    for seed in seeds:
        LongHistory(seed).live(steps=150)
