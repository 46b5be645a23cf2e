"""The poison pills of chaos, and its faults by the cluster's rules, on what they are meant for: admission, operator, a policy."""

from random import Random
from typing import Any

import pytest
from chaos.planned_evaluations import KINDS, Kind, submission
from operator_model import Cluster, Operator, live, submit

from lmms_eval_core.kube.client import EVALUATIONS

Object = dict[str, Any]
BY_NAME = {kind.name: kind for _, kind in KINDS}
PILLS = [kind for _, kind in KINDS if kind.spec or kind.labels]


def manifest(kind: Kind) -> Object:
    return submission(1, kind, seconds=1, retries=0, random=Random(1)).manifest


@pytest.mark.parametrize("kind", PILLS, ids=lambda kind: kind.name)
def test_a_pill_ends_as_its_kind_says_and_holds_up_nobody(kind: Kind) -> None:
    """Those that admission refuses, too: they may be from before it did."""
    cluster = Cluster()
    submit(cluster, "good", priority=-100)
    item = manifest(kind)
    cluster.create(EVALUATIONS, item | {"metadata": {**item["metadata"], "namespace": "test"}})
    live(cluster, Operator(cluster, 1), 4, seconds=1)
    assert cluster.get(EVALUATIONS, "good")["status"]["phase"] == "Completed"
    pill = cluster.get(EVALUATIONS, item["metadata"]["name"])["status"]
    reason = "InvalidSpec" if kind.name == "huge" else kind.end
    assert pill["reason"] == reason, pill
