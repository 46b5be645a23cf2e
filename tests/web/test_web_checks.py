"""The checks of the page's own code, which run in Node, and of how many bytes a reader loads."""

import subprocess
import sys
from pathlib import Path

import pytest
from lmms_eval_web.checks import CHECKS

pytestmark = [pytest.mark.web, pytest.mark.timeout(300)]

TOOL = Path(__file__).parents[2] / "hack" / "web"


@pytest.mark.parametrize("check", CHECKS)
def test_the_code_of_the_page_passes(check: str) -> None:
    done = subprocess.run([sys.executable, TOOL, "check", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    print(done.stdout)


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (TOOL.parents[1] / "web" / "package-lock.json").read_text()
