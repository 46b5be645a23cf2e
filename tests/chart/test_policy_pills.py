"""The poison pills of `make chaos`, on the chart's own policies: each is refused as its kind says, or taken."""

import json
import subprocess
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from chaos.planned_evaluations import KINDS, submission
from chaos.workload import FOR_GOOD
from deployment import wait_until

pytestmark = pytest.mark.integration


def test_each_kind_of_chaos_is_refused_or_taken_as_it_says(guard: Callable[..., Any]) -> None:
    guarded = guard({})

    def create(name: str, item: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        arguments = ["-n", guarded.namespace, "create", "--dry-run=server", "-f", "-"]
        done: subprocess.CompletedProcess[str] = guarded.kubectl.run(*arguments, stdin=json.dumps(item))
        return done

    items = {kind.name: submission(1, kind, seconds=1, retries=0, random=Random(1)).manifest for _, kind in KINDS}
    wait_until(lambda: create("huge", items["huge"]).returncode, seconds=20, what="the policies to be in force")
    for _, kind in KINDS:
        done = create(kind.name, items[kind.name])
        assert bool(done.returncode) == bool(kind.refused), (kind.name, done.stderr)
        if kind.refused:
            assert kind.refused in done.stderr and any(words in done.stderr for words in FOR_GOOD), done.stderr
