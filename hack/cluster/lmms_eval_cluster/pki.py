"""The cluster's certificates and the kubeconfigs made of them: one authority, one identity for each component."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from .settings import API_PORT, FIRST_SERVICE, NODE, Cluster
from .shell import call

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
VALID = ("-days", "3650")
IDENTITIES = {
    "admin": ("system:masters", "admin"),
    "kube-apiserver-kubelet-client": ("system:masters", "kube-apiserver-kubelet-client"),
    "kube-controller-manager": ("system:kube-controller-manager", "system:kube-controller-manager"),
    "kube-scheduler": ("system:kube-scheduler", "system:kube-scheduler"),
    "kube-proxy": ("system:node-proxier", "system:kube-proxy"),
}


def create(cluster: Cluster, node_address: str) -> None:
    """Make every key, certificate and kubeconfig of a new cluster."""
    folder = cluster.pki
    folder.mkdir(parents=True, mode=0o700)
    authority = ["-subj", "/CN=lmms-eval-cluster", "-keyout", folder / "ca.key", "-out", folder / "ca.crt"]
    call("openssl", "req", "-x509", *CURVE, *VALID, *authority)
    call("openssl", "genrsa", "-out", folder / "service-accounts.key", "2048")
    names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    addresses = ["127.0.0.1", node_address, FIRST_SERVICE]
    _issue(folder, "kube-apiserver", ("kubernetes", "kube-apiserver"), names, addresses)
    _issue(folder, "kubelet", ("system:nodes", f"system:node:{NODE}"), [NODE], [node_address])
    for name, subject in IDENTITIES.items():
        _issue(folder, name, subject)
    for name in ("admin", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
        write_kubeconfig(cluster, name, node_address, folder / f"{name}.kubeconfig")
    write_kubeconfig(cluster, "admin", node_address, cluster.kubeconfig)


def _issue(
    folder: Path, name: str, subject: tuple[str, str], names: Sequence[str] = (), addresses: Sequence[str] = ()
) -> None:
    """Sign a certificate for a subject (organization, common name), for use as a client and as a server."""
    organization, common = subject
    alternatives = ",".join([*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)])
    options = ["-subj", f"/O={organization}/CN={common}", "-addext", "extendedKeyUsage=clientAuth,serverAuth"]
    options += ["-addext", f"subjectAltName={alternatives}"] if alternatives else []
    files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
    call(
        "openssl",
        "req",
        "-x509",
        "-CA",
        folder / "ca.crt",
        "-CAkey",
        folder / "ca.key",
        *CURVE,
        *VALID,
        *options,
        *files,
    )


def write_kubeconfig(cluster: Cluster, identity: str, address: str, path: Path) -> None:
    """Write a kubeconfig that needs no other file; JSON is YAML."""

    def embedded(name: str) -> str:
        return base64.b64encode((cluster.pki / name).read_bytes()).decode()

    server = {"server": f"https://{address}:{API_PORT}", "certificate-authority-data": embedded("ca.crt")}
    user = {"client-certificate-data": embedded(f"{identity}.crt"), "client-key-data": embedded(f"{identity}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster.name, "cluster": server}],
        "users": [{"name": identity, "user": user}],
        "contexts": [{"name": cluster.name, "context": {"cluster": cluster.name, "user": identity}}],
        "current-context": cluster.name,
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2) + "\n")
