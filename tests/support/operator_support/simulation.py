"""The operator's real reconciler, stepped from call to call on `fake_api_server`, for property tests.

A test decides when each operator goes on, which events it hears, and what controllers and kubelet do meanwhile.
"""

from typing import Any

from fake_api_server import FakeCluster, FakeKubeClient

from lmms_eval_core.kube.client import EVALUATIONS, Object
from lmms_eval_operator.apply import Executor
from lmms_eval_operator.observe import Observer
from lmms_eval_operator.reconcile import Health, Reconciler
from lmms_eval_operator.settings import Settings
from lmms_eval_operator.view import View

SETTINGS = Settings(namespace="test", evaluator_image="evaluator", reporter_image="reporter", retry_backoff_seconds=5)
SPEC = {"model": "dummy", "tasks": ["t"]}


class SimulatedOperator:
    """One operator process: its view, its position in the log of changes, and its current pass."""

    def __init__(self, cluster: FakeCluster, concurrency: int) -> None:
        self.cluster = cluster
        self.view = View(concurrency=concurrency)
        self.client, clock = FakeKubeClient(cluster), lambda: cluster.now
        executor = Executor(self.client, self.view, SETTINGS, time=cluster.time, clock=clock)
        self.reconciler = Reconciler(
            self.view, Observer(self.client, self.view), executor, clock, cluster.time, Health(clock)
        )
        self.terms = self.term = 1
        self.reconciler.term = lambda: self.term
        self.read = len(cluster.log)
        self.work: Any = None

    def set_leading(self, leads: bool) -> None:
        """Begin or end a term as leader, at any moment."""
        self.terms += leads
        self.term = self.terms if leads else 0

    def step(self) -> bool:
        """Run to the next call of the client; return whether the pass goes on after it."""
        if self.work is None:
            self.work = self.reconciler.work()
        try:
            self.work.send(None)
        except StopIteration:
            self.work = None
        return self.work is not None

    def deliver_events(self, events: int) -> None:
        for resource, deleted, item in self.cluster.log[self.read : self.read + events]:
            self.view.learn(resource, deleted, item)
        self.read = min(self.read + events, len(self.cluster.log))

    def skip_events(self, events: int) -> None:
        self.read = min(max(0, self.read + events), len(self.cluster.log))

    def finish_pass(self) -> None:
        self.deliver_events(len(self.cluster.log))
        for _ in range(1000):
            if not self.step():
                return
        raise AssertionError("a pass does not end")


def submit_evaluation(cluster: FakeCluster, name: str, **spec: Any) -> Object:
    """Create an evaluation, as a user does."""
    return cluster.create(EVALUATIONS, {"metadata": {"name": name, "namespace": "test"}, "spec": {**SPEC, **spec}})


def run_rounds(cluster: FakeCluster, operator: SimulatedOperator, rounds: int = 1, *, seconds: float) -> None:
    """Run rounds: operator, controllers and scheduler work, running pods succeed, and time passes.

    After a minute (61 s) the operator lists everything anew.
    """
    for _ in range(rounds):
        start_attempts(cluster, operator)
        for pod in cluster.list_live_pods():
            cluster.publish_scores(pod)
            cluster.end_pod(pod, 0)
        cluster.now += seconds


def start_attempts(cluster: FakeCluster, operator: SimulatedOperator) -> None:
    """Start what can start: the operator creates a Job, its controller a pod, and the operator opens the pod's gate."""
    for _ in range(2):
        operator.finish_pass()
        cluster.run_controllers()
