"""Starting a new local cluster: the order of things, and what is waited for before the next.

Processes that can wait for each other by themselves are started together; the rest is waited for here.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from . import components, configuration, leftovers, network, pki, processes
from .api import Api, wait_for
from .images import Images
from .network import Addresses
from .settings import NODE, STORAGE_CLASS, Cluster

GPU = "nvidia.com/gpu"
NODE_PATH = f"/api/v1/nodes/{NODE}"
ACCOUNT_PATH = "/api/v1/namespaces/default/serviceaccounts/default"
CLASSES_PATH = "/apis/storage.k8s.io/v1/storageclasses"


def create(cluster: Cluster, binaries: dict[str, Path]) -> Addresses:
    """Make network, certificates and configuration, start every component and wait until pods can run."""
    cluster.logs.mkdir(parents=True)
    addresses = network.create(cluster)
    pki.create(cluster, addresses.node)
    if not cluster.control_plane_only:
        configuration.write(cluster, addresses.node)
        leftovers.create_cgroups(cluster)
    Startup(cluster, addresses.node, binaries).run()
    return addresses


class Startup:
    """One start of one cluster."""

    def __init__(self, cluster: Cluster, address: str, binaries: dict[str, Path]) -> None:
        self._cluster = cluster
        self._address = address
        self._binaries = binaries
        self._commands = components.commands(cluster, address, binaries)
        self._api = Api(cluster, address)
        self._started: list[str] = []

    def run(self) -> None:
        """Start everything."""
        self._start("etcd", "kube-apiserver")
        if not self._cluster.control_plane_only:
            self._start_runtime()
        self._wait("the API server", self._api.ready)
        self._start("kube-controller-manager")
        if not self._cluster.control_plane_only:
            self._start_node()
        self._wait("the default service account", lambda: self._api.get(ACCOUNT_PATH) is not None)

    def _start_runtime(self) -> None:
        self._start("containerd")
        self._wait("the container runtime", self._runtime_answers)
        Images(self._cluster).add_pause(self._binaries["pause"])

    def _start_node(self) -> None:
        self._start("kube-scheduler", "kubelet", "kube-proxy", "coredns", "provisioner")
        self._api.create(CLASSES_PATH, storage_class())
        self._wait("the node", lambda: node_ready(self._api))
        self._wait("the name server", lambda: port_open(self._address, 53))
        self._wait("the addresses of services", lambda: network.serves(self._cluster))

    def _start(self, *names: str) -> None:
        for name in names:
            processes.start(self._cluster, name, self._commands[name])
            self._started.append(name)

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        wait_for(what, condition, alive=lambda: processes.require(self._cluster, self._started), seconds=120)

    def _runtime_answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._cluster.containerd_socket))
            return True
        return False


def node_ready(api: Api) -> bool:
    """Say whether the node takes pods."""
    node = api.get(NODE_PATH)
    conditions = node["status"].get("conditions", []) if node else []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def set_gpus(api: Api, count: int) -> None:
    """Give the node a number of GPUs that are only a number: what is scheduled is real, what it computes on is not."""
    amount = {GPU: str(count)}
    api.patch(f"{NODE_PATH}/status", {"status": {"capacity": amount, "allocatable": amount}})


def storage_class() -> dict[str, object]:
    """Describe the default class of volumes, which our provisioner serves."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": annotations},
        "provisioner": components.PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def port_open(address: str, port: int) -> bool:
    """Say whether something listens at a TCP port."""
    with suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False
