"""The front end behind a kubeconfig: found by `kubectl`, its token read from the release's Secret, reached by a port-forward.

One implementation of every command follows: what speaks to the cluster speaks to the same HTTP routes, through a tunnel.
"""

import base64
import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import httpx

from lmms_eval_client.cli.exits import Code, CommandFailed

COMPONENT: Final = "app.kubernetes.io/component=api"
INSTANCE: Final = "app.kubernetes.io/instance"
# Tells a front end of ours from other people's components of that name.
AUTH_VARIABLE: Final = "LMMS_EVAL_API_AUTH"
# The port is called by what is spoken there.
SCHEMES: Final = ("http", "https")
TOKENS_VOLUME: Final = "tokens"
POD_TIMEOUT: Final = "--pod-running-timeout=30s"
ANSWER_SECONDS: Final = 30
FORWARDED: Final = re.compile(r"127\.0\.0\.1:(\d+)")

Object = dict[str, Any]


class Cluster(NamedTuple):
    """kubectl's own flags; what is empty is kubectl's default."""

    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""

    def argv(self, *arguments: str) -> list[str]:
        """The command line of a kubectl command."""
        flags = [f"--{name}={value}" for name, value in self._asdict().items() if value]
        return ["kubectl", *flags, *arguments]

    def json(self, *arguments: str) -> Object:
        """kubectl's answer; CommandFailed with its own words."""
        command = self.argv(*arguments, "-o", "json", f"--request-timeout={ANSWER_SECONDS}s")
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * ANSWER_SECONDS)
        except FileNotFoundError as error:
            raise CommandFailed(
                "There is no kubectl. Install it, or give the front end's address by --url or LMMS_EVAL_URL."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise CommandFailed("kubectl gets no answer from the cluster.", Code.UNREACHABLE) from error
        if done.returncode:
            raise CommandFailed(_cluster_trouble(done.stderr), Code.UNREACHABLE)
        answer: Object = json.loads(done.stdout)
        return answer


@dataclass(frozen=True)
class FrontEnd:
    """What the Deployment of a front end says of it."""

    name: str
    release: str
    auth: str
    port: int
    scheme: str
    token_secret: str


def find(cluster: Cluster, release: str) -> FrontEnd:
    """The front end of the namespace, of this release if one is named."""
    items = cluster.json("get", "deployments", "-l", COMPONENT)["items"]
    found = [front_end for item in items if (front_end := front_end_of(item)) and release in ("", front_end.release)]
    where = f"the namespace {cluster.namespace}" if cluster.namespace else "this namespace"
    if not found:
        raise CommandFailed(
            f"There is no lmms-eval in {where}. Give --namespace, or the front end's address by --url or LMMS_EVAL_URL."
        )
    if len(found) > 1:
        names = ", ".join(sorted(front_end.release for front_end in found))
        raise CommandFailed(f"There is more than one lmms-eval in {where}: give --release, one of {names}.")
    return found[0]


def front_end_of(deployment: Object) -> FrontEnd | None:
    """The front end in a Deployment; None if it is none of ours."""
    metadata, pod = deployment["metadata"], deployment["spec"]["template"]["spec"]
    variables = {variable["name"]: variable.get("value", "") for variable in pod["containers"][0].get("env", [])}
    ports = {port.get("name"): port["containerPort"] for port in pod["containers"][0].get("ports", [])}
    scheme = next((name for name in SCHEMES if name in ports), None)
    if AUTH_VARIABLE not in variables or scheme is None:
        return None
    secrets = [volume["secret"]["secretName"] for volume in pod.get("volumes", []) if volume["name"] == TOKENS_VOLUME]
    return FrontEnd(
        name=metadata["name"],
        release=metadata.get("labels", {}).get(INSTANCE, metadata["name"]),
        auth=variables[AUTH_VARIABLE],
        port=ports[scheme],
        scheme=scheme,
        token_secret=secrets[0] if secrets else "",
    )


def token_of(cluster: Cluster, front_end: FrontEnd) -> str | None:
    """A token that opens it; None where it asks for none."""
    if front_end.auth == "none":
        return None
    if not front_end.token_secret:
        raise CommandFailed(
            "This front end knows you by a token of Kubernetes, which a kubeconfig need not hold: give one by --token or"
            " LMMS_EVAL_TOKEN, for example from kubectl create token.",
            Code.FORBIDDEN,
        )
    try:
        data = cluster.json("get", "secret", front_end.token_secret).get("data", {})
    except CommandFailed as error:
        raise CommandFailed(f"{error} Give the front end's token by --token or LMMS_EVAL_TOKEN.", Code.FORBIDDEN) from error
    if not data:
        raise CommandFailed(f"The Secret {front_end.token_secret} holds no token.", Code.FORBIDDEN)
    return base64.b64decode(next(iter(data.values()))).decode().strip()


class Tunnel(httpx.BaseTransport):
    """Requests through `kubectl port-forward`, which is started again when it has died: its pod may be replaced at any time."""

    def __init__(self, cluster: Cluster, front_end: FrontEnd) -> None:
        self._cluster = cluster
        self._front_end = front_end
        # No proxy of the environment on the way to loopback. A certificate names the Service, not loopback: that the pod at the
        # other end is the front end's is what the API server says, to which kubectl has proved itself.
        self._http = httpx.HTTPTransport(verify=False, trust_env=False)
        self._lock = threading.Lock()
        self._process, self.port = self._start(0)

    @property
    def base_url(self) -> str:
        """Where it begins; the same as long as it lasts."""
        return f"{self._front_end.scheme}://127.0.0.1:{self.port}"

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends it, with the tunnel up again if need be."""
        with self._lock:
            if self._process.poll() is not None:
                self._restart(request)
        return self._http.handle_request(request)

    def close(self) -> None:
        """Takes the tunnel away."""
        self._http.close()
        self._process.terminate()
        self._process.wait()

    def _restart(self, request: httpx.Request) -> None:
        try:
            self._process, _ = self._start(self.port)
        except CommandFailed as error:
            # As from a server that is away: tried again, with patience.
            raise httpx.ConnectError(str(error), request=request) from error

    def _start(self, port: int) -> tuple[subprocess.Popen[str], int]:
        target = f"deployment/{self._front_end.name}"
        local = str(port) if port else ""
        command = self._cluster.argv(
            "port-forward", target, f"{local}:{self._front_end.port}", "--address=127.0.0.1", POD_TIMEOUT
        )
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        match = FORWARDED.search(first)
        if match is None:
            process.terminate()
            process.wait()
            raise CommandFailed(_cluster_trouble(first), Code.UNREACHABLE)
        # It says a line for each connection: a full pipe would stop it.
        threading.Thread(target=lambda: list(process.stdout or ()), daemon=True).start()
        return process, int(match[1])


@contextlib.contextmanager
def opened(cluster: Cluster, release: str, token: str | None) -> Iterator[tuple[Tunnel, str | None]]:
    """A tunnel to the front end, and the token that opens it."""
    front_end = find(cluster, release)
    token = token or token_of(cluster, front_end)
    tunnel = Tunnel(cluster, front_end)
    try:
        yield tunnel, token
    finally:
        tunnel.close()


def _cluster_trouble(words: str) -> str:
    lines = words.strip().splitlines()
    return f"kubectl says: {lines[-1].removeprefix('error: ').rstrip('.') if lines else 'nothing'}."
