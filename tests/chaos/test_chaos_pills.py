"""The poison pills of the workload, each submitted to the operator."""

from random import Random
from typing import Any

import pytest
from chaos.planned_evaluations import KINDS, EvaluationKind, build_evaluation
from fake_api_server import FakeCluster
from simulation import SimulatedOperator, run_rounds, submit_evaluation

from lmms_eval_core.kube.client import EVALUATIONS

Object = dict[str, Any]
BY_NAME = {kind.name: kind for _, kind in KINDS}
PILLS = [kind for _, kind in KINDS if kind.spec or kind.labels]


def build_manifest(kind: EvaluationKind) -> Object:
    return build_evaluation(1, kind, seconds=1, retries=0, random=Random(1)).manifest


@pytest.mark.parametrize("kind", PILLS, ids=lambda kind: kind.name)
def test_a_pill_ends_as_its_kind_says_and_blocks_no_other_evaluation(kind: EvaluationKind) -> None:
    """Kinds that admission refuses are included: such an object may be older than the policy that refuses it."""
    cluster = FakeCluster()
    submit_evaluation(cluster, "good", priority=-100)
    item = build_manifest(kind)
    cluster.create(EVALUATIONS, item | {"metadata": {**item["metadata"], "namespace": "test"}})
    run_rounds(cluster, SimulatedOperator(cluster, 1), 4, seconds=1)
    assert cluster.get(EVALUATIONS, "good")["status"]["phase"] == "Completed"
    pill = cluster.get(EVALUATIONS, item["metadata"]["name"])["status"]
    reason = "InvalidSpec" if kind.name == "huge" else kind.end
    assert pill["reason"] == reason, pill
