"""Print results with the released lmms-eval's own `make_table`: a JSON document a line in, a JSON text a line out.

Its module needs torch; the function needs pytablewriter alone, so it is taken out of its file as it stands.
"""

import ast
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NAMES = ("HIGHER_IS_BETTER_SYMBOLS", "make_table")


def extract_make_table() -> Any:
    """Return lmms_eval.utils.make_table."""
    package = find_spec("lmms_eval")
    assert package is not None and package.origin is not None
    tree = ast.parse((Path(package.origin).parent / "utils.py").read_text())
    wanted = [node for node in tree.body if getattr(node, "name", None) in NAMES or _assigned(node) in NAMES]
    space: dict[str, Any] = {}
    exec(compile(ast.Module(wanted, type_ignores=[]), "lmms_eval/utils.py", "exec"), space)
    return space["make_table"]


def _assigned(node: ast.stmt) -> str | None:
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return target.id if isinstance(target, ast.Name) else None


def main() -> None:
    """Print the tables as lmms_eval.__main__ does."""
    make_table = extract_make_table()
    for line in sys.stdin:
        results = json.loads(line)
        printed = make_table(results) + "\n"
        if "groups" in results:
            printed += make_table(results, "groups") + "\n"
        print(json.dumps(printed), flush=True)


if __name__ == "__main__":
    main()
