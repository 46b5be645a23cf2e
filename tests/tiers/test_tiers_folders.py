"""Where the tests of a tier are that looks for them in some folders alone."""

import re

from lmms_eval_test.paths import ROOT
from lmms_eval_test.tiers import SYSTEM_FOLDERS

SYSTEM = re.compile(r"mark\.(system|outage|lost_node)\b")


def test_system_tests_are_where_the_tier_looks_for_them() -> None:
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if SYSTEM.search(file.read_text())]
    assert {file.relative_to(ROOT).parent.as_posix() for file in files} == set(SYSTEM_FOLDERS)
