"""The local provider: Kubernetes on this very machine, from its own programs, in one network namespace.

`up` is all or nothing: a cluster is either whole, and left alone, or taken away and made anew. Only the images on the
node are carried over, if the machine has not been restarted since.
"""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from . import components, leftovers, prerequisites, processes, startup
from .api import Api
from .binaries import Binaries
from .console import ClusterError, duration, say
from .images import Images
from .network import Addresses
from .settings import Cluster


class Local:
    """One cluster on this machine."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._record = cluster.state / "cluster.json"
        self._binaries = Binaries(cluster.cache)

    def up(self, *, gpus: int) -> None:
        """Bring the cluster up unless it is; afterwards the node has that many GPUs, as far as pods can tell."""
        prerequisites.ensure(control_plane_only=self._cluster.control_plane_only)
        binaries = self._binaries.paths(components.needed_binaries(self._cluster))
        with self._locked():
            fingerprint = sorted(str(path) for path in binaries.values())
            if self._healthy(fingerprint):
                say(f"The cluster {self._cluster.name} is up.")
            else:
                self._create(binaries, fingerprint)
            if not self._cluster.control_plane_only:
                startup.set_gpus(self._api(), gpus)

    def down(self) -> None:
        """Take the cluster away: processes, mounts, namespace, cgroups and state."""
        with self._locked():
            leftovers.remove(self._cluster)
        say(f"The cluster {self._cluster.name} is gone; its programs and pushed images stay in {self._cluster.cache}.")

    def status(self) -> bool:
        """Print what runs; return whether the cluster is whole."""
        living = processes.components_running(self._cluster)
        for component in components.expected(self._cluster):
            state = f"running, process {living[component]}" if component in living else "not running"
            print(f"{component:24} {state}")
        addresses = self._addresses()
        ready = addresses is not None and self._ready(Api(self._cluster, addresses.node))
        print(f"{'cluster ' + self._cluster.name:24} {'ready' if ready else 'not ready'}; state in {self._cluster.state}")
        return ready and set(components.expected(self._cluster)) <= set(living)

    def kubeconfig(self) -> Path:
        """Give the kubeconfig's path.

        Raises ClusterError if the cluster is not up.
        """
        self._known_addresses()
        return self._cluster.kubeconfig

    def load(self, names: list[str]) -> None:
        """Make locally built images runnable by pods under the same names."""
        with self._locked():
            for name in names:
                self._images().load(name)

    def stop(self, component: str) -> None:
        """Kill one component, as an outage would."""
        living = processes.components_running(self._cluster)
        if component not in living:
            raise ClusterError(f"{component!r} does not run; running are: {', '.join(living) or 'none'}.")
        processes.kill([living[component]])

    def start(self, component: str) -> None:
        """Start one component that was stopped, with its state as it was."""
        address, cluster = self._known_addresses().node, self._cluster
        if component not in components.expected(cluster):
            raise ClusterError(f"{component!r} is no component: choose one of {', '.join(components.expected(cluster))}.")
        if component not in processes.components_running(cluster):
            binaries = self._binaries.paths(components.needed_binaries(cluster))
            processes.start(cluster, component, components.commands(cluster, address, binaries)[component])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one command at a time change the cluster; the kernel frees the lock of one that is killed."""
        with self._cluster.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"Waiting for another command on the cluster {self._cluster.name} to end ...")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _images(self) -> Images:
        return Images(self._cluster, self._known_addresses().node, self._binaries.path("crictl"))

    def _api(self) -> Api:
        return Api(self._cluster, self._known_addresses().node)

    def _known_addresses(self) -> Addresses:
        addresses = self._addresses()
        if addresses is None:
            raise ClusterError(f"The cluster {self._cluster.name} is not up: run `python3 hack/cluster up` first.")
        return addresses

    def _addresses(self) -> Addresses | None:
        """Read the addresses of a cluster that was brought up to its end."""
        if not self._record.exists():
            return None
        return Addresses(IPv4Network(json.loads(self._record.read_text())["network"]))

    def _healthy(self, fingerprint: list[str]) -> bool:
        """Say whether the cluster is whole and made of the wanted programs; a busy machine gets a minute to answer."""
        addresses = self._addresses()
        living = processes.components_running(self._cluster)
        if addresses is None or not set(components.expected(self._cluster)) <= set(living):
            return False
        if json.loads(self._record.read_text())["programs"] != fingerprint:
            return False
        api, deadline = Api(self._cluster, addresses.node), time.monotonic() + 60
        while not self._ready(api):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True

    def _ready(self, api: Api) -> bool:
        return api.ready() and (self._cluster.control_plane_only or startup.node_ready(api))

    def _create(self, binaries: dict[str, Path], fingerprint: list[str]) -> None:
        started = time.monotonic()
        leftovers.remove(self._cluster, keep=startup.reusable_images(self._cluster))
        usual = 6 if self._cluster.control_plane_only else 12
        say(f"Starting the cluster {self._cluster.name} (usually {usual} s) ...")
        addresses = startup.create(self._cluster, binaries)
        self._record.write_text(json.dumps({"network": str(addresses.network), "programs": fingerprint}))
        say(f"The cluster {self._cluster.name} is ready after {duration(time.monotonic() - started)}.")
