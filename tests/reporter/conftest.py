"""A running evaluation, a run directory, and reporters for it."""

import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from reporter_process import ApiServerLink, ReporterProcess, RunDirectoryWriter, RunningEvaluation

from lmms_eval_core.kube.transport import Transport


@pytest.fixture
async def evaluation(client: Transport) -> RunningEvaluation:
    """Running, attempt 1."""
    return await RunningEvaluation.create_running(client)


@pytest.fixture
def files(tmp_path: Path) -> RunDirectoryWriter:
    """The run directory of its pod."""
    return RunDirectoryWriter(tmp_path / "run")


@pytest.fixture
async def link(kubeconfig: str, tmp_path: Path) -> AsyncIterator[ApiServerLink]:
    """The reporters' way to the API server."""
    made = ApiServerLink(Path(kubeconfig), tmp_path / "kubeconfig")
    await made.connect()
    yield made
    await made.cut()


@pytest.fixture
async def reporter(
    evaluation: RunningEvaluation, files: RunDirectoryWriter, link: ApiServerLink, s3_server: Any, namespace: str
) -> AsyncIterator[Callable[..., ReporterProcess]]:
    """Makes reporters of the evaluation, with an administrator's rights; they end with the test."""
    made: list[ReporterProcess] = []

    def make(*, attempt: int = 1, **environment: str) -> ReporterProcess:
        access = {"KUBECONFIG": str(link.kubeconfig), **s3_server.environment()}
        made.append(
            ReporterProcess(evaluation.run_input(namespace=namespace, attempt=attempt), files, access | environment)
        )
        return made[-1]

    yield make
    for one in made:
        await one.stop(signal.SIGKILL)
