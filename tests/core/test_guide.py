from pathlib import Path

from lmms_eval_core.failures import ENDINGS
from lmms_eval_core.phases import Reason

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()


def test_the_guide_knows_every_reason() -> None:
    assert [reason for reason in Reason if f"`{reason}`" not in GUIDE] == []


def test_the_guide_tells_every_ending_as_the_table_does() -> None:
    for ending in ENDINGS:
        code = "" if ending.exit_code is None else str(ending.exit_code)
        again = "yes" if ending.retry else "no"
        assert f"| `{ending.reason}` | {code} | {again} | {ending.meaning} |" in GUIDE
