"""Every file that ARCHITECTURE.md names exists, so that the way of a submission can be followed by it."""

import re
import subprocess

from deployment import ROOT

PAGE = (ROOT / "ARCHITECTURE.md").read_text()
MEMBERS = {
    "api": "lmms_eval_api",
    "core": "lmms_eval_core",
    "evaluator-image": "lmms_eval_runner",
    "operator": "lmms_eval_operator",
    "reporter": "lmms_eval_reporter",
}


def test_every_file_that_is_named_is_there() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    named = set(re.findall(r"`([\w./-]+\.py)`", PAGE))
    missing = {name for name in named if not any(_is_file(name, path) for path in tracked)}
    assert len(named) > 50 and missing == set()


def _is_file(name: str, path: str) -> bool:
    """Whether `path` is the file; a name without its member, as in a list of one member's files, may be of any."""
    member, dots, rest = name.partition("/.../")
    if dots:
        return path == f"{member}/src/{MEMBERS[member]}/{rest}"
    return path == name or path.endswith(f"/{name}")
