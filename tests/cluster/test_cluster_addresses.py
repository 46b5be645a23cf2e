"""A cluster's addresses follow from its name, and step aside for whatever the host uses already."""

import ipaddress
import json
from itertools import islice

import pytest
from lmms_eval_cluster import network
from lmms_eval_cluster.console import ClusterError
from lmms_eval_cluster.settings import POD_RANGE, SERVICE_RANGE, cluster_from


def first(name: str) -> ipaddress.IPv4Network:
    return next(network.candidates(name))


def test_the_same_name_gives_the_same_network_and_another_name_another() -> None:
    assert network.choose("lmms-eval", []) == network.choose("lmms-eval", []) == first("lmms-eval")
    assert first("lmms-eval") != first("lmms-eval-control-plane")


def test_a_network_that_overlaps_a_route_is_left_alone() -> None:
    one, two, three = islice(network.candidates("lmms-eval"), 3)
    assert network.choose("lmms-eval", [one, next(two.subnets())]) == three


def test_no_free_network_is_said_in_a_sentence() -> None:
    with pytest.raises(ClusterError, match="No free network"):
        network.choose("lmms-eval", [ipaddress.IPv4Network("10.0.0.0/8")])


def test_no_candidate_overlaps_the_networks_inside_the_cluster() -> None:
    inside = [ipaddress.IPv4Network(POD_RANGE), ipaddress.IPv4Network(SERVICE_RANGE)]
    assert not any(candidate.overlaps(other) for candidate in network.candidates("x") for other in inside)


def test_routes_are_read_and_the_default_is_none_of_them() -> None:
    routes = [
        {"dst": "default", "gateway": "10.1.1.1"},
        {"dst": "10.208.89.0/24"},
        {"dst": "10.1.1.2", "type": "local"},
    ]
    assert network.parse_routes(json.dumps(routes)) == [
        ipaddress.IPv4Network("10.208.89.0/24"),
        ipaddress.IPv4Network("10.1.1.2/32"),
    ]


def test_the_ends_of_the_pair() -> None:
    addresses = network.Addresses(ipaddress.IPv4Network("10.208.89.0/24"))
    assert (addresses.node, addresses.host) == ("10.208.89.1", "10.208.89.254")


def test_clusters_of_other_names_or_other_places_share_nothing_in_the_kernel() -> None:
    def identity(environ: dict[str, str], *, control_plane_only: bool = False) -> str:
        return cluster_from(environ, control_plane_only=control_plane_only).identity

    identities = [
        identity({}),
        identity({}, control_plane_only=True),
        identity({"LMMS_EVAL_CLUSTER": "other"}),
        identity({"LMMS_EVAL_CLUSTER_STATE": "/elsewhere"}),
    ]
    assert len(set(identities)) == 4
    assert all(len(name) <= 15 for name in identities)


@pytest.mark.parametrize("name", ["Upper", "a/b", "..", "-x", "x" * 60])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="is no cluster name"):
        cluster_from({"LMMS_EVAL_CLUSTER": name}, control_plane_only=False)
