"""The users of chaos: what admission refuses for good is told, and what an API server says in its first second is asked again."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from chaos.observer import Witness
from chaos.planned_evaluations import KINDS, submissions
from chaos.records import Ledger
from chaos.workload import People
from deployment import Deployment, Kubectl

REFUSED = (
    "The lmmevaluations \\\"x\\\" is invalid: : ValidatingAdmissionPolicy 'p' with binding 'p' denied request: it is too large"
)
NOT_READY = "Error from server (Forbidden): lmmevaluations is forbidden: not yet ready to handle request"
# The second answer and all that follow are the last.
KUBECTL = """#!/bin/sh
cd {folder}
if [ ! -e asked ]; then touch asked; echo "{first}" >&2; exit 1; fi
{then}
"""
UID = json.dumps({"metadata": {"uid": "u"}})


@pytest.mark.parametrize(
    ("first", "then", "refused"), [(REFUSED, "exit 9", True), (NOT_READY, f"echo '{UID}'", False)], ids=["refused", "not ready"]
)
def test_a_refusal_for_good_is_told_and_another_one_is_asked_again(tmp_path: Path, first: str, then: str, refused: bool) -> None:
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL.format(folder=tmp_path, first=first, then=then))
    program.chmod(0o755)
    ledger = Ledger()
    release = Deployment(Kubectl(str(program), "none"), "n")
    seen = cast(Witness, SimpleNamespace(states={}))
    people = People(release, ledger, seen, seed=1, say=lambda text: None)
    people._submit()
    name = next(submissions(1)).name
    assert (len(ledger.refused), list(ledger.entries)) == ((1, []) if refused else (0, [name]))
    assert not refused or "denied request: it is too large" in ledger.refused[0].sentence


def test_kinds_are_told_apart_by_their_names() -> None:
    assert len({kind.name for _, kind in KINDS}) == len(KINDS)
