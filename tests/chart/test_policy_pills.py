"""The poison pills of `make chaos` with the chart's own policies: each is refused as its kind says, or accepted."""

import json
import subprocess
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from chaos.planned_evaluations import KINDS, build_evaluation
from chaos.workload import REFUSAL_TEXTS
from deployment import wait_until

pytestmark = pytest.mark.integration


def test_each_kind_is_refused_or_accepted_as_it_says(guard: Callable[..., Any]) -> None:
    guarded = guard({})

    def create(name: str, item: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        arguments = ["-n", guarded.namespace, "create", "--dry-run=server", "-f", "-"]
        done: subprocess.CompletedProcess[str] = guarded.kubectl.run(*arguments, stdin=json.dumps(item))
        return done

    items = {kind.name: build_evaluation(1, kind, seconds=1, retries=0, random=Random(1)).manifest for _, kind in KINDS}
    wait_until(lambda: create("huge", items["huge"]).returncode, seconds=20, what="the policies to be in force")
    for _, kind in KINDS:
        done = create(kind.name, items[kind.name])
        assert bool(done.returncode) == bool(kind.refusal), (kind.name, done.stderr)
        if kind.refusal:
            assert kind.refusal in done.stderr and any(text in done.stderr for text in REFUSAL_TEXTS), done.stderr
