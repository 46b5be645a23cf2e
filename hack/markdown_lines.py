"""Names the lines of Markdown that are too long: prose of more than 120 characters. Tables and code may be as long as
they must.

`make check` runs it over every page; arguments name others.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 120
NOT_OURS = frozenset({"build", "dist", "node_modules", "__pycache__"})


def pages(root: Path) -> Iterator[Path]:
    """Every page below `root`, but for what was built and what begins with a dot, `.github` apart."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name == ".github" or not (name.startswith(".") or name in NOT_OURS)]
        yield from (Path(folder, name) for name in files if name.endswith(".md"))


def long_lines(text: str) -> Iterator[int]:
    """The numbers, from 1 on, of lines of prose that are too long."""
    fenced, blank, code = False, True, False
    for number, line in enumerate(text.splitlines(), 1):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        # Indented further than a list's text is: code, from a blank line on.
        code = line.startswith("    ") and (code or blank)
        blank = not line.strip()
        if len(line) > LIMIT and not (fenced or fence or code or line.startswith("|")):
            yield number


def main(arguments: list[str]) -> int:
    """Print what is too long; the exit status."""
    found = 0
    for path in sorted(map(Path, arguments) if arguments else pages(ROOT)):
        for number in long_lines(path.read_text()):
            print(
                f"{os.path.relpath(path)}:{number}: more than {LIMIT} characters; wrap it, at the end of a "
                f"sentence if you can"
            )
            found += 1
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
