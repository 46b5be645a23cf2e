"""What a release publishes says one version and one licence; the workflows ask for no more than they need."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(ROOT.glob("*/pyproject.toml"))
CHART = ROOT / "charts" / "lmms-eval"
WORKFLOWS = {path.name: path.read_text() for path in sorted((ROOT / ".github" / "workflows").glob("*.yaml"))}
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$|uses: \./")


def project(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(path.read_text())["project"]
    return found


def chart() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
    return found


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOWS[name])["jobs"]
    return found


def test_packages_and_chart_have_the_licence_of_the_file() -> None:
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
    assert {project(path).get("license") for path in PACKAGES} == {"Apache-2.0"}
    assert chart()["annotations"]["artifacthub.io/license"] == "Apache-2.0"


def test_packages_and_chart_have_one_version() -> None:
    assert {project(path)["version"] for path in PACKAGES} == {chart()["version"]} == {chart()["appVersion"]}


def test_the_release_finds_the_line_of_the_registry_that_it_fills_in() -> None:
    assert (CHART / "values.yaml").read_text().count('\n  registry: ""') == 1


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_to_a_commit_with_its_version(name: str) -> None:
    uses = [line.strip().removeprefix("- ") for line in WORKFLOWS[name].splitlines() if "uses: " in line]
    assert uses and [line for line in uses if not PINNED.match(line)] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_job_writes_only_what_it_publishes(name: str) -> None:
    assert yaml.safe_load(WORKFLOWS[name])["permissions"] == {"contents": "read"}
    extra = {job: parts["permissions"] for job, parts in jobs(name).items() if "permissions" in parts}
    push = {"contents": "read", "packages": "write"}
    assert extra == ({"images": push, "chart": push, "draft": {"contents": "write"}} if name == "release.yaml" else {})


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_step_runs_text_that_an_event_brings(name: str) -> None:
    scripts = [step.get("run", "") for job in jobs(name).values() for step in job.get("steps", [])]
    assert [script for script in scripts if "${{" in script] == []
    assert "pull_request_target" not in WORKFLOWS[name]


def test_nothing_is_published_before_the_tests() -> None:
    release = jobs("release.yaml")

    def before(name: str) -> set[str]:
        needs = release[name].get("needs", [])
        return set(needs).union(*(before(need) for need in needs))

    assert release["test"]["uses"] == "./.github/workflows/ci.yaml"
    assert [name for name in ("images", "chart", "wheels", "draft") if not {"test", "version"} <= before(name)] == []
