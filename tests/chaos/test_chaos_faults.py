"""Faults of chaos that last for a while: one of a kind at a time, and ended once the API server is there to end them."""

import threading
from pathlib import Path

import pytest
from chaos.fault_manifests import PASSING
from chaos.faults import Blow, Misfortune
from chaos.records import Ledger
from deployment import Deployment, Kubectl

# It writes down what it is asked, and fails while the file `away` is there.
KUBECTL = """#!/bin/sh
cd {folder}
echo "$6" >> asked
cat > given
[ ! -e away ]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL.format(folder=tmp_path))
    program.chmod(0o755)
    return tmp_path


@pytest.fixture
def faults(folder: Path) -> Misfortune:
    release = Deployment(Kubectl(str(folder / "kubectl"), "none"), "n")
    return Misfortune(release, folder, Ledger(), seed=1, say=lambda text: None)


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().split()


@pytest.mark.parametrize("verb", PASSING)
def test_a_rule_is_one_at_a_time_and_is_lifted(folder: Path, faults: Misfortune, verb: str) -> None:
    assert faults._strike(Blow(0, verb, 0, seconds=1))
    assert not faults._strike(Blow(0, verb, 0, seconds=1))
    assert asked(folder) == ["apply"]
    faults._pass(float("inf"))
    assert asked(folder) == ["apply", "delete"]
    assert faults._strike(Blow(0, verb, 0, seconds=1))


def test_a_rule_that_could_not_be_lifted_is_lifted_later(folder: Path, faults: Misfortune) -> None:
    faults._strike(Blow(0, "refuse jobs", 0, seconds=1))
    (folder / "away").touch()
    for _ in range(2):
        faults._pass(float("inf"))
    assert asked(folder) == ["apply", "delete", "delete"]
    stop = threading.Event()
    stop.set()
    threading.Timer(1, (folder / "away").unlink).start()
    faults.live(stop)
    assert not faults._passing and (folder / "given").read_text().count("chaos-jobs") == 3


def test_a_rule_that_the_api_server_does_not_take_has_met_nobody(folder: Path, faults: Misfortune) -> None:
    (folder / "away").touch()
    assert not faults._strike(Blow(0, "limit jobs", 0, seconds=1))
    assert not faults._passing
