"""What the code of an image imports is in the image: its lock names it."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def imported(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (name.name.partition(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


@pytest.mark.parametrize("member", ["operator", "api", "reporter"])
def test_the_lock_of_an_image_names_what_its_code_imports(member: str) -> None:
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / member / "requirements.lock").read_text(), re.M))
    distributions = packages_distributions()
    foreign = {
        name
        for name in imported(ROOT / member / "src")
        if name not in sys.stdlib_module_names and not name.startswith("lmms_eval_")
    }
    assert foreign
    missing = {
        name
        for name in foreign
        if not locked & {re.sub(r"[-_.]+", "-", found).lower() for found in distributions[name]}
    }
    assert not missing
