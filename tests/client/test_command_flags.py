"""The flags of `lmmeval submit` beside those of the released lmms-eval, read from its source: none is missing without a
word.
"""

import ast
import re
from pathlib import Path

from deployment import ROOT
from typer.core import TyperGroup
from typer.main import get_command

from lmms_eval_client.cli.main import app
from lmms_eval_client.cli.unused import REFUSED, TAKEN

ROW = re.compile(r"^\| ((?:`--?[\w-]+` ?)+)\| ([^|]+) \|$", re.MULTILINE)
# Short names that are flags of kubectl here, or of the command itself.
ELSEWHERE = ("-n", "-w")


def flags_of_lmms_eval(folder: Path) -> list[list[str]]:
    """The spellings of each."""
    tree = ast.parse((folder / "lmms_eval" / "__main__.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    added = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]
    return [
        [name.value for name in call.args if isinstance(name, ast.Constant) and isinstance(name.value, str)]
        for call in added
    ]


def our_flags() -> dict[str, str | None]:
    """Each spelling, and the parameter that it fills."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    command = group.commands["submit"]
    return {option: parameter.name for parameter in command.params for option in parameter.opts}


def explained() -> dict[str, str]:
    """Every flag of the guide's tables, and its reason."""
    rows = ROW.findall((ROOT / "docs" / "client.md").read_text())
    return {name: why for names, why in rows for name in re.findall(r"`([^`]+)`", names)}


def test_every_flag_of_lmms_eval_is_taken_or_the_guide_says_why_not(upstream_folder: Path) -> None:
    theirs, ours = (
        flags_of_lmms_eval(upstream_folder),
        {option.replace("_", "-"): name for option, name in our_flags().items()},
    )
    assert len(theirs) > 40
    missing = []
    for spellings in theirs:
        meant = ours.get(next(name for name in spellings if name.startswith("--")).replace("_", "-"))
        missing += [name for name in spellings if meant is None or ours.get(name.replace("_", "-")) != meant]
    assert sorted(missing) == sorted([*ELSEWHERE, *(option for unused in REFUSED for option in unused.options)])


def test_the_guide_has_the_reasons_that_the_command_gives() -> None:
    assert explained() == {option: unused.why for unused in (*TAKEN, *REFUSED) for option in unused.options}
