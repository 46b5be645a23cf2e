"""The chart, rendered by the pinned Helm."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import deployment
import pytest
import yaml
from deployment import CHART, CommandFailed

Object = dict[str, Any]
Render = Callable[..., list[Object]]


@pytest.fixture(scope="session")
def helm() -> Callable[..., str]:
    """Runs Helm without a cluster; its output."""
    program = deployment.cluster_answer("tool", "helm")

    def run(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(done.stderr)
        return done.stdout

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Objects of the chart for some values; raises CommandFailed."""
    folder = tmp_path_factory.mktemp("values")

    def run(values: Object | None = None, *, namespace: str = "team-a", release: str = "lmms-eval") -> list[Object]:
        file = folder / "values.json"
        file.write_text(json.dumps(values or {}))
        text = helm("template", release, str(CHART), "--namespace", namespace, "-f", str(file))
        return [item for item in yaml.safe_load_all(text) if item]

    return run
