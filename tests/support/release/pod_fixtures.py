"""Fixture `pod_runner`: programs in pods beside the release, such as clients of the front end's Service.

Inside the cluster, each new connection to the Service may reach another replica.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import deployment
import pytest
from release_fixtures import Release

# Each connection of its own to the Service: a port-forward to the Service itself stays with one pod.
RELAY = """
import asyncio, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()

async def relay(reader, writer):
    try:
        far_reader, far_writer = await asyncio.open_connection(sys.argv[1], 80)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

async def main():
    await (await asyncio.start_server(relay, "0.0.0.0", 8000)).serve_forever()

asyncio.run(main())
"""
# A line for each answer, until there was a 503 and then a 200: [status, Age, Retry-After]; status 0 for none.
POLL = """
import json, os, sys, time, urllib.error, urllib.request

lost = False
while True:
    request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + os.environ["TOKEN"]})
    try:
        answer = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    except OSError:
        answer = None
    status = answer.status if answer else 0
    print(json.dumps([status] + [answer and answer.headers[name] for name in ("Age", "Retry-After")]), flush=True)
    lost = lost or status == 503
    if lost and status == 200:
        break
    time.sleep(1)
"""


class PolledAnswer(NamedTuple):
    """One answer that the poller got; status 0 for none."""

    status: int
    age: str | None
    retry_after: str | None


class PodRunner(NamedTuple):
    """Runs programs in pods of the release's namespace."""

    release: Release
    image: str

    @contextlib.contextmanager
    def run_pod(self, name: str, program: str, *arguments: str, **more: Any) -> Iterator[None]:
        """Run a Python program in a pod while the block lasts; keywords are further fields of its container."""
        kubectl = self.release.deployment
        pod = deployment.bare_pod(name, image=self.image, command=["python", "-c", program, *arguments])
        reference = {"secretKeyRef": {"name": f"{kubectl.release}-token", "key": "token"}}
        (container,) = pod["spec"]["containers"]
        container["env"].append({"name": "TOKEN", "valueFrom": reference})
        container |= more
        kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        try:
            kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=180s")
            yield
        finally:
            kubectl("delete", "pod", name, "--now")

    @contextlib.contextmanager
    def forward_service(self) -> Iterator[str]:
        """Forward the Service to this machine, connection by connection; yield the URL."""
        kubectl, name = self.release.deployment, "relay"
        # A port-forward ends with the first connection that is refused.
        listening = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}
        with self.run_pod(name, RELAY, f"{kubectl.release}-api", readinessProbe=listening):
            kubectl("expose", "pod", name, "--port=8000")
            try:
                with kubectl.port_forward(name, 8000) as url:
                    yield url
            finally:
                kubectl("delete", "service", name)

    @contextlib.contextmanager
    def poll_service(self, path: str) -> Iterator[Callable[[], list[PolledAnswer]]]:
        """Poll the Service once a second while the block lasts.

        Yields a function that waits for a 200 after a 503 and returns all answers.
        """
        kubectl, name = self.release.deployment, "poller"

        def answers() -> list[PolledAnswer]:
            kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=300s")
            return [PolledAnswer(*json.loads(line)) for line in kubectl("logs", name).splitlines()]

        with self.run_pod(name, POLL, f"http://{kubectl.release}-api{path}"):
            yield answers


@pytest.fixture(scope="session")
def pod_runner(release: Release, images: dict[str, str]) -> PodRunner:
    """Runs programs in pods beside the release."""
    return PodRunner(release, images["api"])
