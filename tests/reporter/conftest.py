"""A running evaluation, a run directory, and reporters for it."""

import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from reporter_process import Evaluation, Link, Reporter, RunFiles

from lmms_eval_core.kube.transport import Transport


@pytest.fixture
async def evaluation(client: Transport) -> Evaluation:
    """Running, attempt 1."""
    return await Evaluation.create_running(client)


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    """The run directory of its pod."""
    return RunFiles(tmp_path / "run")


@pytest.fixture
async def link(kubeconfig: str, tmp_path: Path) -> AsyncIterator[Link]:
    """The reporters' way to the API server."""
    made = Link(Path(kubeconfig), tmp_path / "kubeconfig")
    await made.connect()
    yield made
    await made.cut()


@pytest.fixture
async def reporter(
    evaluation: Evaluation, files: RunFiles, link: Link, s3_server: Any, namespace: str
) -> AsyncIterator[Callable[..., Reporter]]:
    """Makes reporters of the evaluation, with an administrator's rights; they end with the test."""
    made: list[Reporter] = []

    def make(*, attempt: int = 1, **environment: str) -> Reporter:
        access = {"KUBECONFIG": str(link.kubeconfig), **s3_server.environment()}
        made.append(Reporter(evaluation.run_input(namespace=namespace, attempt=attempt), files, access | environment))
        return made[-1]

    yield make
    for one in made:
        await one.stop(signal.SIGKILL)
