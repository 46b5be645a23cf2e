"""Fixtures `front_end` and `start_front_end`: front ends as processes on loopback, on a real API server."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import httpx_sse
import pytest
from awaited_writes import Reader
from forked_process import ForkedProcess
from plain_http import NO_TLS
from ports import find_free_port
from provided import build_bare_environment

from lmms_eval_api.routes.dependencies import COOKIE

# Far longer than a start takes, for a busy machine.
START_SECONDS = 60
TOKEN = "a-token-of-the-tests"


@dataclass(frozen=True)
class FrontEnd:
    """A running front end."""

    url: str
    process: ForkedProcess
    tokens: Path
    log: Path

    @property
    def url_with_token(self) -> str:
        """The URL with the token, as lmms-eval's own client takes it."""
        return self.url.replace("://", f"://somebody:{TOKEN}@")

    def session(self, token: str = TOKEN) -> httpx.Client:
        """Open an HTTP client that sends the token."""
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False, verify=NO_TLS
        )

    @contextmanager
    def followed(self, name: str, last: str = "") -> Iterator[Iterator[httpx_sse.ServerSentEvent]]:
        """Follow the events of a job, after the event with the id `last`."""
        headers = {"Last-Event-ID": last} if last else {}
        with (
            self.session() as session,
            httpx_sse.connect_sse(session, "GET", f"/jobs/{name}/events", headers=headers) as source,
        ):
            assert source.response.headers["X-Accel-Buffering"] == "no"
            yield source.iter_sse()

    def wait_until_ready(self) -> None:
        """Wait for /readyz; fail with the log when the process ends first."""
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, verify=NO_TLS).is_success
        except httpx.TransportError:
            return False

    def wait_for_log(self, text: str) -> None:
        """Wait until it has logged this: the line of a request comes after its answer."""
        deadline = time.monotonic() + START_SECONDS
        while text not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    async def wait_for_version(self, version: str) -> None:
        """Wait until every answer contains the write of this resourceVersion, by the cookie of who has written."""
        headers = {"Cookie": f"{COOKIE}={version}"}
        await self._ask_until("/queue", lambda answer: answer.is_success and "Warning" not in answer.headers, headers)

    async def wait_for_deletion(self, name: str) -> None:
        """Wait until no answer knows the evaluation any more."""
        await self._ask_until(f"/jobs/{name}", lambda answer: answer.status_code == 404)

    async def _ask_until(
        self, path: str, expected: Callable[[httpx.Response], bool], headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Ask again and again, also one that has just been started; one that has ended is not waited for."""
        deadline = time.monotonic() + START_SECONDS
        headers = {"Authorization": f"Bearer {TOKEN}", **headers}
        async with httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=30, trust_env=False, verify=NO_TLS
        ) as session:
            while self.process.poll() is None:
                with suppress(httpx.TransportError):
                    if expected(await session.get(path)):
                        return
                assert time.monotonic() < deadline, self.log.read_text()
                await asyncio.sleep(0.02)

    def stop(self) -> int:
        """Stop the process as the kubelet does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=START_SECONDS)


StartFrontEnd = Callable[..., FrontEnd]


@pytest.fixture
def start_front_end(namespace: str, kubeconfig: str, tmp_path: Path, readers: list[Reader]) -> Iterator[StartFrontEnd]:
    """Start front ends in the test's namespace; keywords are further environment variables.

    The fixture `client` waits for them after each of its writes, unless they have a kubeconfig of their own: what is
    between them and the API server may be cut.
    """
    started: list[FrontEnd] = []

    def start(**environment: str) -> FrontEnd:
        tokens = tmp_path / "tokens"
        tokens.mkdir(exist_ok=True)
        (tokens / "tests").write_text(TOKEN)
        port, log = find_free_port(), tmp_path / f"front-end-{len(started)}.log"
        variables = {
            **build_bare_environment(),
            "KUBECONFIG": kubeconfig,
            "LMMS_EVAL_NAMESPACE": namespace,
            "LMMS_EVAL_API_HOST": "127.0.0.1",
            "LMMS_EVAL_API_PORT": str(port),
            "LMMS_EVAL_API_TOKENS": str(tokens),
            "LMMS_EVAL_API_METRICS_PORT": "0",
        }
        process = ForkedProcess("lmms_eval_api.main:main", variables | environment, log)
        started.append(FrontEnd(f"http://127.0.0.1:{port}", process, tokens, log))
        if "KUBECONFIG" not in environment:
            readers.append(started[-1])
        return started[-1]

    yield start
    for front_end in started:
        if front_end.process.poll() is None:
            front_end.process.kill()
            front_end.process.wait()


@pytest.fixture
def front_end(start_front_end: StartFrontEnd) -> FrontEnd:
    """A ready front end."""
    running = start_front_end()
    running.wait_until_ready()
    return running
