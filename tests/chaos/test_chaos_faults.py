"""The fault injector: temporary faults are active once at a time, and end as soon as the API server lets them."""

import threading
from pathlib import Path

import pytest
from chaos.fault_manifests import ADMISSION_FAULTS
from chaos.faults import Fault, FaultInjector
from chaos.records import CampaignRecords
from deployment import Deployment, Kubectl

# Logs its verb and its input, and fails while the file `unavailable` exists.
KUBECTL = """#!/bin/sh
cd {folder}
echo "$6" >> verbs
cat > input
[ ! -e unavailable ]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL.format(folder=tmp_path))
    program.chmod(0o755)
    return tmp_path


@pytest.fixture
def injector(folder: Path) -> FaultInjector:
    release = Deployment(Kubectl(str(folder / "kubectl"), "none"), "n")
    return FaultInjector(release, folder, CampaignRecords(), seed=1, log_event=lambda text: None)


def read_verbs(folder: Path) -> list[str]:
    return (folder / "verbs").read_text().split()


def build_fault(kind: str) -> Fault:
    return Fault(0, kind, 0, duration_seconds=1)


@pytest.mark.parametrize("kind", ADMISSION_FAULTS)
def test_an_admission_fault_is_active_once_at_a_time_and_ends(folder: Path, injector: FaultInjector, kind: str) -> None:
    assert injector._inject(build_fault(kind))
    assert not injector._inject(build_fault(kind))
    assert read_verbs(folder) == ["apply"]
    injector._end_faults(float("inf"))
    assert read_verbs(folder) == ["apply", "delete"]
    assert injector._inject(build_fault(kind))


def test_a_fault_that_cannot_be_ended_is_ended_later(folder: Path, injector: FaultInjector) -> None:
    injector._inject(build_fault("refuse jobs"))
    (folder / "unavailable").touch()
    for _ in range(2):
        injector._end_faults(float("inf"))
    assert read_verbs(folder) == ["apply", "delete", "delete"]
    stop = threading.Event()
    stop.set()
    threading.Timer(1, (folder / "unavailable").unlink).start()
    injector.run(stop)
    assert not injector._active and (folder / "input").read_text().count("chaos-jobs") == 3


def test_a_fault_that_the_api_server_does_not_accept_has_no_target(folder: Path, injector: FaultInjector) -> None:
    (folder / "unavailable").touch()
    assert not injector._inject(build_fault("limit jobs"))
    assert not injector._active
