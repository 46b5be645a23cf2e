"""Every type, length, range, count and choice of the CRD, just inside and just outside, on a real API server."""

import re

import pytest
import pytest_asyncio
from crd_samples import Bound, list_bounds, plant_value

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, Object
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(server: Transport) -> Object:
    """An evaluation whose status can be written."""
    return await server.create(EVALUATIONS, plant_value(("spec", "hold"), True))


def place(bound: Bound) -> str:
    """The field of the bound, as the server writes it."""
    return bound.where.replace(".[]", "[0]").replace(".{}", ".key")


def check(bound: Bound, refusal: errors.Invalid) -> None:
    """The refusal says where and what."""
    said = re.sub(r"\[\d+\]", "[0]", refusal.message)
    assert place(bound) in said
    assert bound.sentence in said


@pytest.mark.parametrize("bound", list_bounds("spec"), ids=str)
async def test_spec(server: Transport, bound: Bound) -> None:
    if bound.good is not None:
        await server.create(EVALUATIONS, bound.good, dry_run=True)
    with pytest.raises(errors.Invalid) as refused:
        await server.create(EVALUATIONS, bound.bad, dry_run=True)
    check(bound, refused.value)


@pytest.mark.parametrize("bound", list_bounds("status"), ids=str)
async def test_status(server: Transport, stored: Object, bound: Bound) -> None:
    async def write(body: Object) -> None:
        patch = [{"op": "add", "path": "/status", "value": body["status"]}]
        await server.json_patch(EVALUATIONS, stored["metadata"]["name"], patch, subresource="status")

    if bound.good is not None:
        await write(bound.good)
    with pytest.raises(errors.Invalid) as refused:
        await write(bound.bad)
    check(bound, refused.value)
