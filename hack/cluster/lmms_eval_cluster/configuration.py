"""The configuration files of the container runtime, the kubelet, the service proxy and the name server.

Written anew for every cluster; each setting that is not a path or an address says why it is there.
"""

import json
from pathlib import Path

from .prerequisites import network_plugins
from .settings import NODE, POD_RANGE, Cluster

PAUSE_IMAGE = "localhost/lmms-eval-cluster/pause:1"
CLUSTER_DOMAIN = "cluster.local"


def write(cluster: Cluster, address: str) -> None:
    """Write every file, below the cluster's state."""
    state = cluster.state
    for folder in ("cni", "pod-logs", "volume-plugins", "volumes"):
        (state / folder).mkdir(exist_ok=True)
    (state / "containerd.toml").write_text(containerd(cluster))
    _write_json(state / "cni" / "10-pods.conflist", pod_network(cluster))
    _write_json(state / "kubelet.json", kubelet(cluster, address))
    _write_json(state / "kube-proxy.json", kube_proxy(cluster))
    (state / "Corefile").write_text(corefile(cluster, address))


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def containerd(cluster: Cluster) -> str:
    """Configure the container runtime, with every folder it writes to below the cluster's own.

    restrict_oom_score_adj: without CAP_SYS_RESOURCE no sandbox starts otherwise.
    """
    state = cluster.state
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    unused = ("aufs", "btrfs", "devmapper", "zfs")
    return f"""version = 2
root = "{state}/containerd/root"
state = "{state}/containerd/state"
disabled_plugins = [{", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in unused)}]
[grpc]
address = "{cluster.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{state}/containerd/opt"
[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[{cri}.cni]
bin_dir = "{network_plugins()}"
conf_dir = "{state}/cni"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
Root = "{state}/containerd/runc"
"""


def pod_network(cluster: Cluster) -> dict[str, object]:
    """Configure the pods' network: point to point, so that all traffic is routed and no bridge filter is needed."""
    addresses = {
        "type": "host-local",
        "dataDir": f"{cluster.state}/pod-addresses",
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    pods = {"type": "ptp", "ipMasq": True, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": cluster.identity, "plugins": [pods, ports]}


def kubelet(cluster: Cluster, address: str) -> dict[str, object]:
    """Configure the node's agent.

    Cgroups of version 1 are served too; a cgroup root of its own lets the pods of this cluster be told from others.
    Images are never collected and pods evicted only when the disk is truly full: it is the machine of a developer.
    """
    state, pki = cluster.state, cluster.pki
    runtime = f"unix://{cluster.containerd_socket}"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": runtime,
        "imageServiceEndpoint": runtime,
        "address": address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet.key",
        "clusterDNS": [address],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cluster.identity}",
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": f"{state}/pod-logs",
        "volumePluginDir": f"{state}/volume-plugins",
    }


def kube_proxy(cluster: Cluster) -> dict[str, object]:
    """Configure the service proxy; connection tracking limits belong to the host and stay as they are."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": f"{cluster.pki}/kube-proxy.kubeconfig"},
        "hostnameOverride": NODE,
        "clusterCIDR": POD_RANGE,
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0},
    }


def corefile(cluster: Cluster, address: str) -> str:
    """Configure the name server: the cluster's own names, and a refusal of all others, as no way leads outside."""
    return f""".:53 {{
    bind {address}
    errors
    health {address}:8053
    cache 5
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {cluster.pki}/admin.kubeconfig
        pods insecure
        ttl 5
    }}
}}
"""
