"""The servers, each a process of its own on loopback: ours, lmms-eval's as released, and the limit of any."""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import upstream
from deployment import ROOT, CommandFailed

from bench.measured_process import MeasuredProcess, find_program, run_process

SERVING_CORE: Final = 0
LOADING_CORE: Final = 1
LOGS: Final = ROOT / "build" / "bench"
OUR_PORT, THEIR_PORT, BARE_PORT = 18998, 18999, 18997
BARE: Final = Path(__file__).with_name("bare_server.py")
# Of the limit's answers uvicorn itself adds this one.
NOT_RECORDED: Final = "date"
START_SECONDS: Final = 120.0
LAUNCH: Final = """
import sys
sys.path.append(sys.argv[1])
from lmms_eval.entrypoints.http_server import launch_server
from lmms_eval.entrypoints.server_args import ServerArgs
launch_server(ServerArgs(host="127.0.0.1", port=int(sys.argv[2])))
"""
# Its first job runs as long as the measurement: the original starts it as `python -m lmms_eval`, which is not to load
# the cores.
ENDLESS: Final = """
import sys, time
if sys.orig_argv[1:3] == ["-m", "lmms_eval"]:
    time.sleep(100_000)
"""


class BenchServer(NamedTuple):
    """One that answers."""

    url: str
    process: MeasuredProcess
    headers: Mapping[str, str]
    ready_seconds: float

    def client(self, **options: object) -> httpx.AsyncClient:
        """Speaks to it."""
        limits = httpx.Limits(max_connections=None)
        return httpx.AsyncClient(base_url=self.url, headers=self.headers, timeout=60, trust_env=False, limits=limits)


@contextlib.contextmanager
def ours(*, kubeconfig: str, namespace: str, **more: str) -> Iterator[BenchServer]:
    """The front end, started as the image starts it, with a token and `more` settings, and without limits of rates, for
    wrk.
    """
    with tempfile.TemporaryDirectory() as folder:
        token = "a-token-of-the-benchmark"
        Path(folder, "bench").write_text(token)
        settings = {
            "KUBECONFIG": kubeconfig,
            "LMMS_EVAL_NAMESPACE": namespace,
            "LMMS_EVAL_API_HOST": "127.0.0.1",
            "LMMS_EVAL_API_PORT": str(OUR_PORT),
            "LMMS_EVAL_API_TOKENS": folder,
            "LMMS_EVAL_API_REQUESTS_PER_SECOND": "0",
            "LMMS_EVAL_API_SUBMISSIONS_PER_MINUTE": "0",
            **more,
        }
        url = f"http://127.0.0.1:{OUR_PORT}"
        with run_process(
            _pinned(find_program("lmms-eval-api")), settings, log=LOGS / f"front-end-{namespace}.log"
        ) as process:
            seconds = _ready(process, f"{url}/readyz")
            yield BenchServer(url, process, {"Authorization": f"Bearer {token}"}, seconds)


@contextlib.contextmanager
def original() -> Iterator[BenchServer]:
    """lmms-eval's own server, unmodified, with its defaults."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(ENDLESS)
        command = _pinned(sys.executable, "-c", LAUNCH, str(upstream.installed()), str(THEIR_PORT))
        url = f"http://127.0.0.1:{THEIR_PORT}"
        with run_process(command, {"PYTHONPATH": folder}, log=LOGS / "original.log") as process:
            yield BenchServer(url, process, {}, _ready(process, f"{url}/health"))


@contextlib.contextmanager
def limit(server: BenchServer, paths: Sequence[str]) -> Iterator[BenchServer]:
    """A bare uvicorn application that answers these paths with the bytes that `server` has answered."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "answers.json")
        file.write_text(json.dumps(_recorded(server, paths)))
        command = _pinned(sys.executable, str(BARE), str(BARE_PORT), str(file))
        url = f"http://127.0.0.1:{BARE_PORT}"
        with run_process(command, {}, log=LOGS / "limit.log") as process:
            yield BenchServer(url, process, server.headers, _ready(process, url + paths[0]))


def _recorded(server: BenchServer, paths: Sequence[str]) -> dict[str, tuple[list[tuple[str, str]], str]]:
    recorded = {}
    with httpx.Client(base_url=server.url, headers=server.headers, trust_env=False, timeout=60) as http:
        for path in paths:
            answer = http.get(path, headers={"Accept-Encoding": "identity"}).raise_for_status()
            headers = [(name, value) for name, value in answer.headers.multi_items() if name != NOT_RECORDED]
            recorded[path] = (headers, answer.content.decode("latin-1"))
    return recorded


def _pinned(*command: str) -> list[str]:
    """One core for each server, as for a pod with a limit of one; where there is but one core, nothing can be kept
    apart.
    """
    return ["taskset", "-c", str(SERVING_CORE), *command] if (os.cpu_count() or 1) > 1 else list(command)


def _ready(process: MeasuredProcess, url: str) -> float:
    """Seconds from its start until it answers."""
    # One client for all looks: to make one costs as much as a page of the list that is waited for.
    with httpx.Client(trust_env=False) as http:
        while not process.ended and time.monotonic() < process.began + START_SECONDS:
            with contextlib.suppress(httpx.TransportError):
                if http.get(url).is_success:
                    return time.monotonic() - process.began
            time.sleep(0.02)
    raise CommandFailed(f"{url} does not answer; see {LOGS}")
