"""The clients of a campaign: a refusal by admission is recorded, and an error of a starting API server is retried."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from chaos.observer import ClusterObserver
from chaos.planned_evaluations import KINDS, generate_evaluations
from chaos.records import CampaignRecords
from chaos.workload import Workload
from deployment import Deployment, Kubectl

POLICY = "ValidatingAdmissionPolicy 'p' with binding 'p'"
REFUSED = f'The lmmevaluations \\"x\\" is invalid: : {POLICY} denied request: it is too large'
NOT_READY = "Error from server (Forbidden): lmmevaluations is forbidden: not yet ready to handle request"
# Fails with the message `first` once, then runs `then`.
KUBECTL = """#!/bin/sh
cd {folder}
if [ ! -e called ]; then touch called; echo "{first}" >&2; exit 1; fi
{then}
"""
UID = json.dumps({"metadata": {"uid": "u"}})


@pytest.mark.parametrize(
    ("first", "then", "is_refused"),
    [(REFUSED, "exit 9", True), (NOT_READY, f"echo '{UID}'", False)],
    ids=["refused", "not ready"],
)
def test_a_refusal_is_recorded_and_an_error_is_retried(tmp_path: Path, first: str, then: str, is_refused: bool) -> None:
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL.format(folder=tmp_path, first=first, then=then))
    program.chmod(0o755)
    records = CampaignRecords()
    release = Deployment(Kubectl(str(program), "none"), "n")
    observer = cast(ClusterObserver, SimpleNamespace(histories={}))
    Workload(release, records, observer, seed=1, log_event=lambda text: None)._submit()
    name = next(generate_evaluations(1)).name
    assert (len(records.refused), list(records.evaluations)) == ((1, []) if is_refused else (0, [name]))
    assert not is_refused or "denied request: it is too large" in records.refused[0].message


def test_every_kind_has_its_own_name() -> None:
    assert len({kind.name for _, kind in KINDS}) == len(KINDS)
