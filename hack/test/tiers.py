"""The tiers: what each needs, how it is prepared, which tests it runs."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "test"
CLUSTER = [sys.executable, str(ROOT / "hack" / "cluster")]
IMAGES = [sys.executable, str(ROOT / "hack" / "images")]
# Long enough for a first run that builds Kubernetes and the images from source.
PREPARE_SECONDS = 3600


class Missing(Exception):
    """What this machine lacks for a tier, as a sentence."""


class Counts(NamedTuple):
    """What pytest counted."""

    passed: int
    failed: int
    skipped: int
    exit_code: int


class Tier(NamedTuple):
    """A set of tests that need the same things."""

    name: str
    what: str
    run: Callable[[], Counts]


def command(*arguments: str, environment: dict[str, str] | None = None) -> None:
    """Runs a preparation; its output is the user's to see."""
    done = subprocess.run(arguments, cwd=ROOT, env={**os.environ, **(environment or {})}, timeout=PREPARE_SECONDS, check=False)
    if done.returncode:
        raise Missing(f"`{' '.join(arguments[1:])}` failed; its own message is above")


def answer(*arguments: str) -> str:
    """The last line that a command prints."""
    done = subprocess.run(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=PREPARE_SECONDS, check=False)
    if done.returncode:
        raise Missing(f"`{' '.join(arguments[1:])}` failed; its own message is above")
    return done.stdout.strip().splitlines()[-1]


def pytest(tier: str, *arguments: str, under: Sequence[str] = (), environment: dict[str, str] | None = None) -> Counts:
    """Runs pytest, `under` another module if that is named, and reads its report."""
    BUILD.mkdir(parents=True, exist_ok=True)
    report = BUILD / f"{tier}.xml"
    report.unlink(missing_ok=True)
    selected = [sys.executable, *under, "-m", "pytest", "-q", f"--junit-xml={report}", *arguments]
    done = subprocess.run(selected, cwd=ROOT, env={**os.environ, **(environment or {})}, check=False)
    return counts(report, done.returncode)


def counts(report: Path, exit_code: int) -> Counts:
    """Counts of a JUnit report; none at all if pytest died before it wrote one."""
    if not report.exists():
        return Counts(0, 1, 0, exit_code or 1)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    if suite is None:
        return Counts(0, 1, 0, exit_code or 1)
    total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return Counts(total - failed - skipped, failed, skipped, exit_code)


def unit() -> Counts:
    """Everything that needs nothing; the parts of the operator that decide must be covered, branch by branch."""
    counts = pytest("unit", "-m", "not integration and not harness and not system", under=["-m", "coverage", "run"])
    covered = subprocess.run([sys.executable, "-m", "coverage", "report"], cwd=ROOT, check=False).returncode == 0
    return counts if covered else counts._replace(exit_code=counts.exit_code or 1)


def integration() -> Counts:
    """The control plane of a real cluster, without a node."""
    command(*CLUSTER, "up", "--control-plane-only")
    kubeconfig = answer(*CLUSTER, "kubeconfig", "--control-plane-only")
    # Built here, where it may take minutes: a test may not.
    programs = {name: answer(*CLUSTER, "tool", name) for name in ("helm", "kubeconform", "promtool", "versitygw")}
    environment = {"LMMS_EVAL_TEST_KUBECONFIG": kubeconfig, "LMMS_EVAL_TEST_VERSITYGW": programs["versitygw"]}
    return pytest("integration", "-m", "integration", "--timeout=120", environment=environment)


def harness() -> Counts:
    """Inside the evaluator image, with the real lmms-eval."""
    command(*IMAGES, "build", "evaluator")
    report = BUILD / "harness.xml"
    report.unlink(missing_ok=True)
    done = subprocess.run([sys.executable, str(ROOT / "hack" / "test" / "in_image.py"), str(report)], cwd=ROOT, check=False)
    return counts(report, done.returncode)


def system() -> Counts:
    """A real node, the images, the chart."""
    command(*CLUSTER, "up")
    command(*IMAGES, "build")
    references = json.loads((ROOT / "build" / "images.json").read_text())
    command(*CLUSTER, "load", *references.values())
    return pytest("system", "-m", "system", "--timeout=600")


TIERS = (
    Tier("unit", "pure code and small processes", unit),
    Tier("integration", "a real API server and a real S3 server", integration),
    Tier("harness", "real lmms-eval inside the evaluator image", harness),
    Tier("system", "the installed chart on a real node", system),
)
