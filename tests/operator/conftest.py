"""A namespace of a real API server, ready for the operator."""

import pytest
from deployment import Kubectl
from operator_cluster import Namespace

from lmms_eval_core.kube.transport import Transport


@pytest.fixture
async def place(client: Transport, kubectl: Kubectl) -> Namespace:
    """Where the operator works in this test."""
    place = Namespace(client, kubectl)
    await place.prepare()
    return place
