"""The cluster's network: a namespace of its own, and one veth pair between it and the host.

Everything of the cluster lives in the namespace, so the host's routes and packet filters stay as they are. No way leads
from it to other machines: a pod that tries is told so at once, and need not wait for a timeout. Services have a route,
as the API server calls webhooks by them; where their packets go is decided after it.
"""

import hashlib
import ipaddress
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .console import ClusterError
from .settings import FIRST_SERVICE, SERVICE_RANGE, Cluster
from .shell import call, inside, succeeds

Network = ipaddress.IPv4Network

_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 443), timeout=1)"


@dataclass(frozen=True)
class Addresses:
    """The two ends of the veth pair, in a /24 that nothing else on the host uses."""

    network: Network

    @property
    def node(self) -> str:
        """Give the address of the node and of the API server."""
        return str(self.network[1])

    @property
    def host(self) -> str:
        """Give the address by which the cluster sees the host."""
        return str(self.network[254])


def candidates(name: str) -> Iterator[Network]:
    """List the networks a cluster may take, in its own order: the first one follows from its name."""
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    count = 40 * 256
    for step in range(count):
        number = (first + step) % count
        yield Network(f"10.{200 + number // 256}.{number % 256}.0/24")


def choose(name: str, taken: Iterable[Network]) -> Network:
    """Take a cluster's first network that overlaps nothing taken.

    Raises ClusterError if there is none.
    """
    used = list(taken)
    for network in candidates(name):
        if not any(network.overlaps(other) for other in used):
            return network
    raise ClusterError(
        "No free network between 10.200.0.0 and 10.239.255.255 is left for the cluster: remove a route of the host."
    )


def parse_routes(text: str) -> list[Network]:
    """Read the networks out of `ip -json route`; the default route is none."""
    destinations = (entry.get("dst", "default") for entry in json.loads(text or "[]"))
    return [Network(destination, strict=False) for destination in destinations if destination != "default"]


def create(cluster: Cluster) -> Addresses:
    """Make the namespace and the pair, with addresses, and return them."""
    addresses = Addresses(
        choose(cluster.name, parse_routes(call("ip", "-json", "-4", "route", "show", "table", "all")))
    )
    call("ip", "netns", "add", cluster.identity)
    call("ip", "link", "add", cluster.identity, "type", "veth", "peer", "name", "eth0", "netns", cluster.identity)
    call("ip", "address", "add", f"{addresses.host}/24", "dev", cluster.identity)
    call("ip", "link", "set", cluster.identity, "up")
    for command in (
        ["link", "set", "lo", "up"],
        ["address", "add", f"{addresses.node}/24", "dev", "eth0"],
        ["link", "set", "eth0", "up"],
        ["route", "add", SERVICE_RANGE, "dev", "eth0"],
        ["route", "add", "unreachable", "default"],
    ):
        call("ip", "-netns", cluster.identity, *command)
    call(*inside(cluster.netns, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]))
    return addresses


def serves(cluster: Cluster) -> bool:
    """Say whether the API server can be reached by its service's address, as pods do."""
    return succeeds(*inside(cluster.netns, [sys.executable, "-c", _CONNECT, FIRST_SERVICE]))


def remove(cluster: Cluster) -> None:
    """Take namespace and pair away, if they are there."""
    if succeeds("ip", "link", "show", cluster.identity):
        call("ip", "link", "delete", cluster.identity)
    if cluster.netns.exists():
        call("ip", "netns", "delete", cluster.identity)
