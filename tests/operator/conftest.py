"""A namespace of a real API server, ready for the operator."""

import pytest
from deployment import Kubectl
from operator_namespace import OperatorNamespace

from lmms_eval_core.kube.transport import Transport


@pytest.fixture
async def place(client: Transport, kubectl: Kubectl) -> OperatorNamespace:
    """Where the operator works in this test."""
    place = OperatorNamespace(client, kubectl)
    await place.prepare()
    return place
