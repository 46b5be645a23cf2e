"""The check of Markdown finds prose that is too long, and nothing else."""

import subprocess
import sys
from pathlib import Path

import markdown_lines
import pytest

LONG = "word " * 25


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LONG, [1]),
        (f"* {LONG}\n  {LONG}", [1, 2]),
        (f"# Title\n\nshort\n{LONG}", [4]),
        (f"10. item\n    {LONG}", [2]),
        ("word " * 24, []),
        (f"| {LONG} |", []),
        (f"```\n{LONG}\n```\n{LONG}", [4]),
        (f"text:\n\n    {LONG}\n    {LONG}\n\n{LONG}", [6]),
    ],
)
def test_prose_is_told_from_tables_and_code(text: str, expected: list[int]) -> None:
    assert list(markdown_lines.long_lines(text)) == expected


def test_a_long_line_fails_the_check_and_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"fine\n{LONG}\n")
    done = subprocess.run(
        [sys.executable, markdown_lines.__file__, str(page)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "page.md:2: more than 120 characters" in done.stdout


def test_the_pages_of_the_repository_are_looked_at() -> None:
    found = {path.relative_to(markdown_lines.ROOT).as_posix() for path in markdown_lines.pages(markdown_lines.ROOT)}
    assert {"README.md", "docs/guide.md", "operator/README.md", ".github/pull_request_template.md"} <= found
    assert not [path for path in found if path.startswith((".venv", "build"))]
