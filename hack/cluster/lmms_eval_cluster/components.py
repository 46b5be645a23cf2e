"""The command line of every process of a cluster, in the order in which they are started."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .settings import API_PORT, NODE, SERVICE_RANGE, Cluster

Command = Sequence[object]
PROVISIONER = "lmms-eval.io/local-folder"
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager")
NODE_SIDE = ("containerd", "kube-scheduler", "kubelet", "kube-proxy", "coredns", "provisioner")
BUILT = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "provisioner",
)


def expected(cluster: Cluster) -> tuple[str, ...]:
    """List the components of a cluster that is whole."""
    return CONTROL_PLANE if cluster.control_plane_only else CONTROL_PLANE + NODE_SIDE


def stateful(cluster: Cluster) -> tuple[str, ...]:
    """List the components whose death ends a cluster; all others keep nothing that is not in these."""
    return ("etcd",) if cluster.control_plane_only else ("etcd", "containerd")


def needed_binaries(cluster: Cluster) -> list[str]:
    """List the programs to build for a cluster."""
    built = [name for name in expected(cluster) if name in BUILT]
    return built if cluster.control_plane_only else [*built, "pause"]


def commands(cluster: Cluster, address: str, binaries: Mapping[str, Path]) -> dict[str, Command]:
    """Give the command of every component."""
    state, pki = cluster.state, cluster.pki
    own: dict[str, Command] = {
        "etcd": _etcd(state),
        "kube-apiserver": _api_server(pki, address),
        "kube-controller-manager": _controller_manager(pki),
        "kube-scheduler": [f"--kubeconfig={pki}/kube-scheduler.kubeconfig", "--leader-elect=false"],
        "kubelet": _kubelet(cluster, address),
        "kube-proxy": [f"--config={state}/kube-proxy.json"],
        "coredns": ["-conf", state / "Corefile"],
        "provisioner": _provisioner(state, pki),
    }
    built: dict[str, Command] = {name: [binaries[name], *own[name]] for name in own if name in binaries}
    return built | {"containerd": ["containerd", "--config", state / "containerd.toml"]}


def _etcd(state: Path) -> Command:
    """Run the database without waiting for the disk: a cluster that dies is made anew, not repaired."""
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    urls = [f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"]
    return [f"--data-dir={state}/etcd", *urls, "--unsafe-no-fsync", "--log-level=warn"]


def _api_server(pki: Path, address: str) -> Command:
    accounts = f"{pki}/service-accounts.key"
    return [
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={address}",
        f"--secure-port={API_PORT}",
        f"--tls-cert-file={pki}/kube-apiserver.crt",
        f"--tls-private-key-file={pki}/kube-apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/kube-apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/kube-apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def _controller_manager(pki: Path) -> Command:
    """Run the stock controllers, at the usual 20 calls a second: what they do late has to be seen here too."""
    return [
        f"--kubeconfig={pki}/kube-controller-manager.kubeconfig",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--use-service-account-credentials",
        "--leader-elect=false",
    ]


def _kubelet(cluster: Cluster, address: str) -> Command:
    return [
        f"--config={cluster.state}/kubelet.json",
        f"--kubeconfig={cluster.pki}/kubelet.kubeconfig",
        f"--hostname-override={NODE}",
        f"--node-ip={address}",
        f"--root-dir={cluster.state}/kubelet",
        f"--cert-dir={cluster.state}/kubelet/pki",
    ]


def _provisioner(state: Path, pki: Path) -> Command:
    options = {"kubeconfig": f"{pki}/admin.kubeconfig", "name": PROVISIONER, "root": f"{state}/volumes", "node": NODE}
    return [f"--{name}={value}" for name, value in options.items()]
