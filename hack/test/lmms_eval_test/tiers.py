"""The tiers: what each needs, how it is prepared, which tests it runs."""

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from . import leftovers
from .paths import ROOT
from .preparation import Failed, PytestRun, Stages, Tier, TierPreparation

CLUSTER = (sys.executable, str(ROOT / "hack" / "cluster"))
IMAGES = (sys.executable, str(ROOT / "hack" / "images"))
WEB = (sys.executable, str(ROOT / "hack" / "web"))
PROGRAMS = ("kubectl", "helm", "kubeconform", "promtool", "versitygw")
# How many releases the tests of the shared node are divided among: they mostly wait, each for a run of its own.
RELEASES = 6
# Clusters whose parts tests stop, and these tests, by their marks: one at a time on each, and most of it is waiting.
STOPPED = {"outages": "outage and not lost_node", "lost-node": "lost_node"}
# Where the system tests are: to collect all tests takes each worker several times as long.
SYSTEM_FOLDERS = ("tests/system", "tests/cluster")
# What ships, and the stand-in for lmms-eval of `make chaos`.
SYSTEM_IMAGES = ("s3", "operator", "api", "reporter", "evaluator", "stub")
# Tiers are prepared at once, and two of them use it.
_CONTROL_PLANE_LOCK = threading.Lock()
_control_plane_environment: dict[str, str] = {}
UNIT = "not integration and not harness and not system and not web"
# From empty caches they run beside compilers.
TIMEOUT = "--timeout=120"


def unit(preparation: TierPreparation) -> Stages:
    """Everything that needs nothing; the parts of the operator that decide must be covered, branch by branch."""

    def part(name: str, *paths: str, also: str = "", under: Sequence[str] = ()) -> PytestRun:
        return preparation.pytest(name, "-m", f"{UNIT}{also}", TIMEOUT, *paths, under=under)

    if preparation.arguments:
        return [[part("unit")]]
    # Measuring takes as long as the tests themselves, and a branch should not be covered by chance alone.
    operator = part("unit-operator", "tests/operator", also=" and not search", under=["-m", "coverage", "run"])
    elsewhere = ("operator", "api", "core", "runner", "chaos", "reporter")
    return [
        [
            operator,
            part("unit-search", "tests/operator", also=" and search"),
            part("unit-api", "tests/api"),
            # These two mostly wait for processes that they start.
            part("unit-runner", "tests/runner"),
            part("unit-chaos", "tests/chaos"),
            part("unit-reporter", "tests/reporter", "tests/core"),
            part("unit-others", "tests", *(f"--ignore=tests/{folder}" for folder in elsewhere)),
        ]
    ]


def unit_coverage(preparation: TierPreparation) -> None:
    """Raises Failed where a branch of the deciding parts has no test; a selection of tests is not judged."""
    if preparation.arguments:
        return
    command = [sys.executable, "-m", "coverage", "report"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"branches without a test:\n{done.stdout}{done.stderr}")


def integration(preparation: TierPreparation) -> Stages:
    """The control plane of a real cluster, without a node."""
    environment = _control_plane(preparation)

    def part(name: str, *paths: str) -> PytestRun:
        return preparation.pytest(name, "-m", "integration", "--timeout=180", *paths, environment=environment)

    if preparation.arguments:
        return [[part("integration")]]
    # Each test has a namespace of its own, and only tests of the chart touch what is the cluster's. The sweep mostly
    # waits.
    sweep = "tests/operator/test_operator_crash_sweep.py"
    # How soon a leader hands over, how many requests pass, how soon a probe is answered: measured when little else
    # computes. Leaders wait for terms of leases, so that there is a processor for what is asked of front ends.
    measuring = {
        "integration-elector": ("tests/operator/test_operator_elector.py",),
        "integration-replicas": ("tests/operator/test_operator_replicas.py",),
        "integration-measuring": ("tests/api/test_abuse_life.py", "tests/api/test_hostile_files.py"),
    }
    folders = ("tests/api", "tests/client", "tests/operator", "tests/core")
    apart = [f"--ignore={file}" for file in itertools.chain([sweep], *measuring.values())]
    together = [
        part("integration-sweep", sweep),
        part("integration-api", "tests/api", *apart),
        part("integration-client", "tests/client"),
        part("integration-core", "tests/operator", "tests/core", *apart),
        part("integration-others", "tests", *(f"--ignore={folder}" for folder in folders)),
    ]
    return [together, [part(name, *files) for name, files in measuring.items()]]


def _control_plane(preparation: TierPreparation) -> dict[str, str]:
    """Bring up the control plane of a real cluster, once for all tiers; the environment of tests on it."""
    with _CONTROL_PLANE_LOCK:
        if not _control_plane_environment:
            _control_plane_environment.update(_bring_up_control_plane(preparation))
        return dict(_control_plane_environment)


def _bring_up_control_plane(preparation: TierPreparation) -> dict[str, str]:
    preparation.run(*CLUSTER, "up", "--control-plane-only")
    (*_, kubeconfig) = preparation.answer(*CLUSTER, "kubeconfig", "--control-plane-only")
    # Built here, where it may take minutes: a test may not.
    programs = dict(zip(PROGRAMS, preparation.answer(*CLUSTER, "tool", *PROGRAMS), strict=True))
    # Once, as the parts share it: a second time would undo what a test of another part does to it.
    kubectl = [programs["kubectl"], "--kubeconfig", kubeconfig]
    preparation.run(*kubectl, "apply", "--server-side", "--force-conflicts", "--filename", str(ROOT / "crds"))
    leftovers.remove(preparation, kubectl)
    return {"LMMS_EVAL_TEST_KUBECONFIG": kubeconfig, "LMMS_EVAL_TEST_PROGRAMS": json.dumps(programs)}


def web(preparation: TierPreparation) -> Stages:
    """The checks of the page's own code, and the page in a browser before a real front end on the control plane."""
    preparation.run(*WEB, "build")
    preparation.run(*WEB, "browser")
    environment = _control_plane(preparation)
    return [[preparation.pytest("web", "-m", "web", "--timeout=180", "tests/web", environment=environment)]]


def harness(preparation: TierPreparation) -> Stages:
    """Inside the evaluator image, with the real lmms-eval."""
    preparation.run(*IMAGES, "build", "evaluator")
    part = preparation.pytest("harness", "-m", "harness", environment={"PYTHONPATH": str(ROOT / "hack")})
    command = [sys.executable, str(ROOT / "hack" / "test" / "in_image.py"), str(part.report), *preparation.arguments]
    return [[part._replace(command=command)]]


def system(preparation: TierPreparation) -> Stages:
    """Real nodes with our images: one that releases share, and others for tests that stop parts of them."""
    # Built here, where it may take minutes: a test may not.
    preparation.run(*CLUSTER, "tool", "kubectl", "helm")
    preparation.run(*IMAGES, "build", *SYSTEM_IMAGES)
    preparation.run(*WEB, "browser")
    built = json.loads((ROOT / "build" / "images.json").read_text())
    shared = _node(preparation, {}, built, gpus=RELEASES)
    # A selection may name files.
    common = ["--timeout=600", *([] if preparation.arguments else SYSTEM_FOLDERS)]
    workers = [f"--numprocesses={RELEASES}", "--dist=loadgroup"]
    parts = [preparation.pytest("system", "-m", "system and not outage", *workers, *common, environment=shared)]
    cluster = os.environ.get("LMMS_EVAL_CLUSTER") or "lmms-eval"
    for name, marks in STOPPED.items():
        alone = _node(preparation, {"LMMS_EVAL_CLUSTER": f"{cluster}-{name}"}, built, gpus=1)
        parts.append(preparation.pytest(f"system-{name}", "-m", f"system and {marks}", *common, environment=alone))
    return [parts]


def _node(
    preparation: TierPreparation, cluster: dict[str, str], images: dict[str, str], *, gpus: int
) -> dict[str, str]:
    """Bring up a cluster with a node; the environment of tests on it."""
    preparation.run(*CLUSTER, "up", "--gpus", str(gpus), environment=cluster)
    loaded = preparation.answer(*CLUSTER, "load", *images.values(), environment=cluster)
    return cluster | {"LMMS_EVAL_TEST_IMAGES": json.dumps(dict(zip(images, loaded, strict=True)))}


# More than so many are no accident.
SECOND_TRIES = 2
TIERS = (
    Tier("unit", "pure code and small processes", 2, unit, unit_coverage),
    Tier("web", "the web page in Chromium, on a real API server", 1, web, second_tries=SECOND_TRIES),
    Tier("integration", "a real API server and a real S3 server", 2, integration, second_tries=SECOND_TRIES),
    # Takes what the others leave, beside whichever of them runs.
    Tier("harness", "real lmms-eval inside the evaluator image", 0, harness, second_tries=SECOND_TRIES),
    Tier("system", "the installed chart on a real node", 2, system, second_tries=SECOND_TRIES),
)
