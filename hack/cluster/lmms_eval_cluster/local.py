"""The local provider: Kubernetes on this very machine, from its own programs, in one network namespace.

`up` leaves a whole cluster alone, starts what is missing of one whose data is served, and makes every other one anew: a
database that was killed without having waited for the disk is not to be trusted, and images are there again in seconds.
"""

import fcntl
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from . import components, leftovers, prerequisites, processes, startup
from .api import Api, wait_for
from .binaries import Binaries
from .console import ClusterError, duration, say
from .images import Images
from .network import Addresses
from .settings import Cluster

SERVING_SECONDS = 120.0


class LocalProvider:
    """One cluster on this machine."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._record = cluster.state / "cluster.json"
        self._binaries = Binaries(cluster.cache)

    def up(self, *, gpus: int | None) -> None:
        """Bring the cluster up unless it is; its node then has `gpus` GPUs (one, if it is new and none
        are asked for).
        """
        if not self._whole():
            prerequisites.ensure(control_plane_only=self._cluster.control_plane_only)
            binaries = self._binaries.paths(components.needed_binaries(self._cluster))
            with self._locked():
                if not self._healed(binaries):
                    self._create(binaries)
                    gpus = 1 if gpus is None else gpus
        say(f"The cluster {self._cluster.name} is up; its kubeconfig is {self._cluster.kubeconfig}.")
        if gpus is not None and not self._cluster.control_plane_only:
            startup.set_gpus(self._api(), gpus)

    def down(self) -> None:
        """Take the cluster away: processes, mounts, namespace, cgroups and state."""
        with self._locked():
            leftovers.remove(self._cluster)
        say(f"The cluster {self._cluster.name} is gone; its programs stay in {self._cluster.cache}.")

    def status(self) -> bool:
        """Print what runs; return whether the cluster is whole."""
        living = processes.components_running(self._cluster)
        for component in components.expected(self._cluster):
            print(f"{component:24} {f'process {living[component]}' if component in living else 'not running'}")
        whole = self._whole()
        print(f"{self._cluster.name:24} {'ready' if whole else 'not ready'}")
        print(f"{'state, logs':24} {self._cluster.state}")
        print(f"{'network namespace':24} {self._cluster.netns}")
        return whole

    def kubeconfig(self) -> Path:
        """Give the kubeconfig's path.

        Raises ClusterError if the cluster is not up.
        """
        self._address()
        return self._cluster.kubeconfig

    def load(self, names: list[str]) -> list[str]:
        """Make locally built images runnable by pods under the same names."""
        with self._locked():
            self._address()
            for name in names:
                Images(self._cluster).load(name)
        return names

    def stop(self, component: str) -> None:
        """Kill one component, as an outage would.

        Raises ClusterError if it does not run.
        """
        living = processes.components_running(self._cluster)
        if component not in living:
            raise ClusterError(f"{component!r} does not run; running are: {', '.join(living) or 'none'}.")
        processes.kill([living[component]])
        wait_for(f"{component} to end", lambda: component not in processes.components_running(self._cluster))

    def start(self, component: str) -> None:
        """Start one component that was stopped; it finds its data as it was.

        Raises ClusterError if there is no such component.
        """
        known = components.expected(self._cluster)
        if component not in known:
            raise ClusterError(f"{component!r} is no component of this cluster: choose one of {', '.join(known)}.")
        self._start_missing([component], self._binaries.paths(components.needed_binaries(self._cluster)))

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

    def _address(self) -> str:
        """Read the node's address, which is on record from the end of a successful start."""
        if not self._record.exists():
            raise ClusterError(f"The cluster {self._cluster.name} is not up: run `python3 hack/cluster up` first.")
        return Addresses(IPv4Network(json.loads(self._record.read_text())["network"])).node

    def _api(self) -> Api:
        return Api(self._cluster, self._address())

    def _whole(self) -> bool:
        """Say whether every component runs and the cluster serves, at this moment."""
        missing = set(components.expected(self._cluster)) - set(processes.components_running(self._cluster))
        return self._record.exists() and not missing and self._serves()

    def _serves(self) -> bool:
        api = self._api()
        return api.ready() and (self._cluster.control_plane_only or startup.node_ready(api))

    def _healed(self, binaries: dict[str, Path]) -> bool:
        """Try to make the cluster whole without losing its data; a busy machine gets two minutes to answer."""
        living = processes.components_running(self._cluster)
        if not self._record.exists() or not set(components.stateful(self._cluster)) <= set(living):
            return False
        self._start_missing(components.expected(self._cluster), binaries)
        try:
            wait_for("the cluster to serve", self._whole, seconds=SERVING_SECONDS)
        except ClusterError:
            return False
        return True

    def _start_missing(self, wanted: Sequence[str], binaries: dict[str, Path]) -> None:
        living = processes.components_running(self._cluster)
        commands = components.commands(self._cluster, self._address(), binaries)
        for component in wanted:
            if component not in living:
                say(f"Starting {component} ...")
                processes.start(self._cluster, component, commands[component])

    def _create(self, binaries: dict[str, Path]) -> None:
        started = time.monotonic()
        leftovers.remove(self._cluster)
        say(f"Starting the cluster {self._cluster.name} (usually 5 to 10 s) ...")
        addresses = startup.create(self._cluster, binaries)
        self._record.write_text(json.dumps({"network": str(addresses.network)}))
        say(f"It took {duration(time.monotonic() - started)}.")
