"""The front end behind a kubeconfig: found by `kubectl`, its token read from the release's Secret, reached by a
port-forward.

One implementation of every command follows: what speaks to the cluster speaks to the same HTTP routes, through a
tunnel.
"""

import base64
import json
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import httpx

from lmms_eval_client.cli.exits import CliError, ExitCode

COMPONENT: Final = "app.kubernetes.io/component=api"
INSTANCE: Final = "app.kubernetes.io/instance"
# Tells a front end of ours from other people's components of that name.
AUTH_VARIABLE: Final = "LMMS_EVAL_API_AUTH"
AUDIENCE_VARIABLE: Final = "LMMS_EVAL_API_AUTH_AUDIENCE"
# Kubernetes makes none for less than ten minutes; a tunnel asks for a new one in time.
TOKEN_SECONDS: Final = 3600
RENEW_SECONDS: Final = TOKEN_SECONDS / 2
# The port is called by what is spoken there.
SCHEMES: Final = ("http", "https")
TOKENS_VOLUME: Final = "tokens"
POD_TIMEOUT: Final = "--pod-running-timeout=30s"
ANSWER_SECONDS: Final = 30
FORWARDED: Final = re.compile(r"127\.0\.0\.1:(\d+)")

Object = dict[str, Any]


class KubectlContext(NamedTuple):
    """kubectl's own flags; what is empty is kubectl's default."""

    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""

    def build_command(self, *arguments: str) -> list[str]:
        """Return the command line of a kubectl command."""
        flags = [f"--{name}={value}" for name, value in self._asdict().items() if value]
        return ["kubectl", *flags, *arguments]

    def read_json(self, *arguments: str) -> Object:
        """Return kubectl's answer; CommandFailed with its own words."""
        command = self.build_command(*arguments, "-o", "json", f"--request-timeout={ANSWER_SECONDS}s")
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * ANSWER_SECONDS)
        except FileNotFoundError as error:
            raise CliError(
                "There is no kubectl. Install it, or give the front end's address by --url or LMMS_EVAL_URL."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise CliError("kubectl gets no answer from the cluster.", ExitCode.UNREACHABLE) from error
        if done.returncode:
            raise CliError(_describe_kubectl_error(done.stderr), ExitCode.UNREACHABLE)
        answer: Object = json.loads(done.stdout)
        return answer


@dataclass(frozen=True)
class FoundFrontEnd:
    """What the Deployment of a front end says of it."""

    name: str
    release: str
    auth: str
    port: int
    scheme: str
    token_secret: str
    audience: str = ""


def find_front_end(cluster: KubectlContext, release: str) -> FoundFrontEnd:
    """Return the front end of the namespace, of this release if one is named."""
    items = cluster.read_json("get", "deployments", "-l", COMPONENT)["items"]
    found = [front_end for item in items if (front_end := parse_front_end(item)) and release in ("", front_end.release)]
    where = f"the namespace {cluster.namespace}" if cluster.namespace else "this namespace"
    if not found:
        raise CliError(
            f"There is no lmms-eval in {where}. Give --namespace, or the front end's address by --url or LMMS_EVAL_URL."
        )
    if len(found) > 1:
        names = ", ".join(sorted(front_end.release for front_end in found))
        raise CliError(f"There is more than one lmms-eval in {where}: give --release, one of {names}.")
    return found[0]


def parse_front_end(deployment: Object) -> FoundFrontEnd | None:
    """Return the front end in a Deployment; None if it is none of ours."""
    metadata, pod = deployment["metadata"], deployment["spec"]["template"]["spec"]
    variables = {variable["name"]: variable.get("value", "") for variable in pod["containers"][0].get("env", [])}
    ports = {port.get("name"): port["containerPort"] for port in pod["containers"][0].get("ports", [])}
    scheme = next((name for name in SCHEMES if name in ports), None)
    if AUTH_VARIABLE not in variables or scheme is None:
        return None
    secrets = [volume["secret"]["secretName"] for volume in pod.get("volumes", []) if volume["name"] == TOKENS_VOLUME]
    return FoundFrontEnd(
        name=metadata["name"],
        release=metadata.get("labels", {}).get(INSTANCE, metadata["name"]),
        auth=variables[AUTH_VARIABLE],
        port=ports[scheme],
        scheme=scheme,
        token_secret=secrets[0] if secrets else "",
        audience=variables.get(AUDIENCE_VARIABLE, ""),
    )


def read_token(cluster: KubectlContext, front_end: FoundFrontEnd, account: str = "") -> str | None:
    """Return a token that the front end accepts; None where it asks for none."""
    if front_end.auth == "none":
        return None
    if not front_end.token_secret:
        return make_token(cluster, front_end, account)
    try:
        data = cluster.read_json("get", "secret", front_end.token_secret).get("data", {})
    except CliError as error:
        raise CliError(
            f"{error} Give the front end's token by --token or LMMS_EVAL_TOKEN.", ExitCode.FORBIDDEN
        ) from error
    if not data:
        raise CliError(f"The Secret {front_end.token_secret} holds no token.", ExitCode.FORBIDDEN)
    return base64.b64decode(next(iter(data.values()))).decode().strip()


def make_token(cluster: KubectlContext, front_end: FoundFrontEnd, account: str) -> str:
    """Return a token of Kubernetes for this service account, which kubectl makes."""
    if not account:
        raise CliError(
            "This front end knows you by a token of Kubernetes, which a kubeconfig need not hold: give one by --token "
            "or LMMS_EVAL_TOKEN, for example from kubectl create token, or name a service account by --account.",
            ExitCode.FORBIDDEN,
        )
    audience = [f"--audience={front_end.audience}"] if front_end.audience else []
    request = cluster.read_json("create", "token", account, f"--duration={TOKEN_SECONDS}s", *audience)
    return str(request["status"]["token"])


class Tunnel(httpx.BaseTransport):
    """Requests through `kubectl port-forward`: begun with the first one, and again when it has died, as its pod may be
    replaced.

    What the requests are addressed to stays outside; a request that brings no token gets the one of the release.
    """

    def __init__(self, cluster: KubectlContext, release: str, *, account: str = "") -> None:
        self._cluster = cluster
        self._release = release
        self._account = account
        # No proxy of the environment on the way to loopback. A certificate names the Service, not loopback: that the
        # pod at the other end is the front end's is what the API server says, to which kubectl has proved itself.
        self._http = httpx.HTTPTransport(verify=False, trust_env=False)
        self._lock = threading.Lock()
        self._front_end: FoundFrontEnd | None = None
        self._token: str | None = None
        self._token_read_at = float("-inf")
        self._forward: PortForward | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request through the tunnel, which is started if needed."""
        with self._lock:
            front_end = self._find_front_end()
            request.url = request.url.copy_with(
                scheme=front_end.scheme, host="127.0.0.1", port=self._find_port(front_end, request)
            )
            if "Authorization" not in request.headers:
                self._authorize(front_end, request)
        return self._http.handle_request(request)

    def close(self) -> None:
        """Close the tunnel."""
        self._http.close()
        if self._forward is not None:
            self._forward.close()

    def _find_front_end(self) -> FoundFrontEnd:
        self._front_end = self._front_end or find_front_end(self._cluster, self._release)
        return self._front_end

    def _find_port(self, front_end: FoundFrontEnd, request: httpx.Request) -> int:
        if self._forward is None:
            self._forward = PortForward(self._cluster, front_end)
        elif not self._forward.is_alive:
            self._forward.close()
            try:
                self._forward = PortForward(self._cluster, front_end)
            except CliError as error:
                # As from a server that is away: tried again.
                raise httpx.ConnectError(str(error), request=request) from error
        return self._forward.port

    def _authorize(self, front_end: FoundFrontEnd, request: httpx.Request) -> None:
        if self._token is None or time.monotonic() - self._token_read_at > RENEW_SECONDS:
            self._token = read_token(self._cluster, front_end, self._account)
            self._token_read_at = time.monotonic()
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"


class PortForward:
    """One `kubectl port-forward`, from a free port of this machine.

    CommandFailed with its own words if it does not come up.
    """

    def __init__(self, cluster: KubectlContext, front_end: FoundFrontEnd) -> None:
        target = f"deployment/{front_end.name}"
        command = cluster.build_command(
            "port-forward", target, f":{front_end.port}", "--address=127.0.0.1", POD_TIMEOUT
        )
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.port = self._read_port()
        # It says a line for each connection: a full pipe would stop it.
        threading.Thread(target=lambda: list(self._process.stdout or ()), daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the port-forward."""
        self._process.terminate()
        self._process.wait()

    def _read_port(self) -> int:
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        match = FORWARDED.search(first)
        if match is None:
            self.close()
            raise CliError(_describe_kubectl_error(first), ExitCode.UNREACHABLE)
        return int(match[1])


def _describe_kubectl_error(words: str) -> str:
    lines = words.strip().splitlines()
    return f"kubectl says: {lines[-1].removeprefix('error: ').rstrip('.') if lines else 'nothing'}."
