"""The map of tests/support names every module, and the search paths name every folder."""

import re
import tomllib

from deployment import ROOT

SUPPORT = ROOT / "tests" / "support"
# A row of a table that begins with the path of a module.
ROW = re.compile(r"^\| `(\S+\.py)` \| \S.* \|$", re.MULTILINE)


def test_the_map_names_every_module_once() -> None:
    modules = sorted(str(path.relative_to(SUPPORT)) for path in SUPPORT.rglob("*.py"))
    assert sorted(ROW.findall((SUPPORT / "README.md").read_text())) == modules


def test_modules_have_unique_names_and_stand_in_folders() -> None:
    modules = [path for folder in SUPPORT.iterdir() if folder.is_dir() for path in folder.glob("*.py")]
    assert len({path.name for path in modules}) == len(modules)
    assert not list(SUPPORT.glob("*.py")) and not list((ROOT / "tests").rglob("__init__.py"))


def test_pytest_and_mypy_search_every_folder() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    folders = {str(path.parent.relative_to(ROOT)) for path in SUPPORT.glob("*/*.py")}
    for paths in (tools["pytest"]["ini_options"]["pythonpath"], tools["mypy"]["mypy_path"]):
        assert {path for path in paths if path.startswith("tests/")} == folders
