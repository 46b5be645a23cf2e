"""Fixture `fake_kubelet`: a node with a kubelet's log endpoint, for a control plane that has no node.

The real API server reads the logs of pods from it. Its certificate is signed by the cluster, as a kubelet's is. It runs
no containers: tests write the logs, and end them.
"""

import json
import secrets
import socket
import ssl
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from deployment import CommandFailed, Kubectl

SIGN_SECONDS = 60


class PodLog:
    """The log of one container. `content` is what the node has not rotated away."""

    def __init__(self) -> None:
        self.content = b""
        self.dropped = 0
        self.ended = False
        self.streams = 0

    def write(self, data: bytes) -> None:
        """Append what the container prints."""
        self.content += data

    def rotate(self, keep: int) -> None:
        """Drop all but the last `keep` bytes, as a kubelet does with a long log."""
        self.dropped += len(self.content) - keep
        self.content = self.content[len(self.content) - keep :]


class FakeKubelet(ThreadingHTTPServer):
    """An HTTPS server for GET /containerLogs/NAMESPACE/POD/CONTAINER."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, name: str, address: str) -> None:
        super().__init__((address, 0), _Handler)
        self.name = name
        self.logs: dict[str, PodLog] = {}
        self.stopping = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that hangs up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeKubelet

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query, pod = parse_qs(url.query), url.path.split("/")[3]
        log = self.server.logs.get(pod)
        if log is None:
            message = f'container "evaluator" in pod "{pod}" is waiting to start: ContainerCreating'.encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(message)))
            self.end_headers()
            self.wfile.write(message)
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        log.streams += 1
        try:
            self._send(log, follow="follow" in query, tail=int(query["tailLines"][0]) if "tailLines" in query else None)
            self.wfile.write(b"0\r\n\r\n")
        finally:
            log.streams -= 1

    def _send(self, log: PodLog, *, follow: bool, tail: int | None) -> None:
        place = log.dropped
        if tail is not None:
            place += len(log.content) - len(b"".join(log.content.splitlines(keepends=True)[-tail:]))
        while True:
            ended = log.ended or not follow
            piece = log.content[max(place - log.dropped, 0) :]
            place = log.dropped + len(log.content)
            if piece:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.flush()
            if ended or self.server.stopping:
                return
            # A kubelet notices who hangs up when the connection closes, not when it next writes.
            self.connection.settimeout(0.05)
            try:
                if not self.connection.recv(1):
                    raise ConnectionResetError
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            finally:
                self.connection.settimeout(None)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def _sign_serving_certificate(kubectl: Kubectl, name: str, address: str, folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{name}"),
        ]
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    pem = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": b64encode(pem).decode(),
            "signerName": "kubernetes.io/kubelet-serving",
            "usages": ["digital signature", "server auth"],
        },
    }
    identity = ("--as", f"system:node:{name}", "--as-group", "system:nodes", "--as-group", "system:authenticated")
    kubectl("create", *identity, "-f", "-", stdin=json.dumps(body))
    kubectl("certificate", "approve", name)
    deadline = time.monotonic() + SIGN_SECONDS
    while not (signed := kubectl("get", "csr", name, "-o", "jsonpath={.status.certificate}")):
        assert time.monotonic() < deadline, "the cluster signs no certificates of nodes"
        time.sleep(0.1)
    kubectl("delete", "csr", name)
    certificate, key_file = folder / "node.crt", folder / "node.key"
    certificate.write_bytes(b64decode(signed))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return certificate, key_file


def _find_own_address(kubeconfig: str) -> str:
    """Return the address under which the API server reaches this machine."""
    server = urlsplit(yaml.safe_load(Path(kubeconfig).read_text())["clusters"][0]["cluster"]["server"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((server.hostname, server.port or 443))
        return str(probe.getsockname()[0])


@pytest.fixture
def fake_kubelet(kubectl: Kubectl, kubeconfig: str, tmp_path: Path) -> Iterator[FakeKubelet]:
    """A node that the API server asks for logs."""
    name, address = f"test-{secrets.token_hex(4)}", _find_own_address(kubeconfig)
    server = FakeKubelet(name, address)
    certificate, key = _sign_serving_certificate(kubectl, name, address, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = {"kubeletEndpoint": {"Port": server.server_address[1]}}
    status = {"addresses": [{"type": "InternalIP", "address": address}], "daemonEndpoints": port}
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}
    kubectl("create", "-f", "-", stdin=json.dumps(body))
    yield server
    server.stopping = True
    kubectl("delete", "node", name, "--wait=false")
    server.shutdown()
    server.server_close()


def create_pod_on_node(kubectl: Kubectl, namespace: str, name: str, node: str, labels: dict[str, str]) -> None:
    """Create a pod with an evaluator container, bound to the node."""
    container = {"image": "none", "name": "evaluator"}
    spec = {"nodeName": node, "automountServiceAccountToken": False, "containers": [container]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
    deadline = time.monotonic() + SIGN_SECONDS
    while True:
        try:
            kubectl("--namespace", namespace, "create", "-f", "-", stdin=json.dumps(body))
            return
        except CommandFailed as error:
            # The service account of a new namespace comes a moment later.
            if "serviceaccount" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
