"""A Lease as a register with compare-and-swap. No clock: it is held until its holder, or recovery, lets it go.

Leader election is another use of Leases and lives in the operator.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import LEASES, KubeClient, Object


class Register(NamedTuple):
    """What a register holds, and the version that the next write must name."""

    name: str
    holder: str
    resource_version: str
    transitions: int = 0
    """How often it was swapped."""

    @property
    def free(self) -> bool:
        """Whether it has no holder."""
        return not self.holder


def parse(lease: Object) -> Register:
    """Return the register in a Lease object."""
    metadata, spec = lease["metadata"], lease.get("spec", {})
    return Register(
        metadata["name"],
        spec.get("holderIdentity") or "",
        metadata["resourceVersion"],
        spec.get("leaseTransitions") or 0,
    )


async def read(client: KubeClient, name: str, labels: dict[str, str]) -> Register:
    """Read the register; it is created free if it was never used."""
    try:
        return parse(await client.get(LEASES, name))
    except errors.NotFound:
        pass
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "labels": labels}}
    try:
        return parse(await client.create(LEASES, body))
    except errors.AlreadyExists:
        return parse(await client.get(LEASES, name))


async def swap(client: KubeClient, register: Register, holder: str) -> Register:
    """Write `holder` ("" frees it); errors.Conflict if the register changed since it was read.

    It has another version afterwards, if the holder is the same, too: the API server writes nothing where nothing
    changes, and a register that was read before must not be good for another swap.
    """
    return await write(
        client, register, {"/spec/holderIdentity": holder, "/spec/leaseTransitions": register.transitions + 1}
    )


async def write(client: KubeClient, register: Register, values: Mapping[str, Any]) -> Register:
    """Write values by their paths in the Lease; errors.Conflict if that changed since it was read."""
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": register.resource_version}
    changes = [{"op": "add", "path": path, "value": value} for path, value in values.items()]
    return parse(await client.json_patch(LEASES, register.name, [test, *changes]))
