"""What is checked of the page's own code, and how many bytes a reader loads."""

import gzip
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lmms_eval_images.console import ImageError

from .bundle import DIST, WEB, build, install_packages, lock, run_node

# Bytes of JavaScript, compressed as they travel.
FIRST_LOAD_LIMIT: Final = 150 * 1000
TOTAL_LIMIT: Final = 220 * 1000
SCHEMA: Final = WEB / "src" / "api" / "schema.d.ts"


def check_types(environment: Mapping[str, str]) -> None:
    """Check the types."""
    run_node(["npm", "run", "--silent", "types"], environment)


def check_lint(environment: Mapping[str, str]) -> None:
    """Check format and lint."""
    run_node(["npm", "run", "--silent", "lint"], environment)


def check_units(environment: Mapping[str, str]) -> None:
    """Run the tests of pure code."""
    run_node(["npm", "test", "--silent"], environment)


def check_schema(environment: Mapping[str, str]) -> None:
    """Compare the types of the API with openapi.json, which `make verify` compares with the front end."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "schema.d.ts"
        write_schema(made, environment)
        if made.read_text() != SCHEMA.read_text():
            raise ImageError("web/src/api/schema.d.ts is stale; run: python3 hack/web schema")


def write_schema(path: Path, environment: Mapping[str, str]) -> None:
    """Write the types of the API."""
    run_node(["npx", "--no-install", "openapi-typescript", "openapi.json", "--output", str(path)], environment)


def check_sizes(environment: Mapping[str, str]) -> None:
    """Check the bytes of JavaScript that a reader loads at first, and in all."""
    first = sum(map(measure, find_first_load()))
    total = sum(map(measure, (DIST / "assets").glob("*.js")))
    for what, size, limit in (("the first load", first, FIRST_LOAD_LIMIT), ("all", total, TOTAL_LIMIT)):
        print(f"JavaScript of {what}: {size / 1000:.1f} kB of {limit / 1000:.0f} kB")
        if size > limit:
            raise ImageError(f"The JavaScript of {what} is larger than {limit / 1000:.0f} kB, compressed.")


def find_first_load() -> Iterator[Path]:
    """Yield the entry and what it imports, from vite's manifest."""
    manifest: dict[str, dict[str, Any]] = json.loads((DIST / ".vite" / "manifest.json").read_text())
    waiting = [name for name, chunk in manifest.items() if chunk.get("isEntry")]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += manifest[name].get("imports", [])
            yield DIST / manifest[name]["file"]


def measure(path: Path) -> int:
    """Return the bytes of a file as it travels."""
    return len(gzip.compress(path.read_bytes(), 9, mtime=0))


CHECKS: Final[Mapping[str, Callable[[Mapping[str, str]], None]]] = {
    "types": check_types,
    "lint": check_lint,
    "units": check_units,
    "schema": check_schema,
    "sizes": check_sizes,
}


def check(*names: str) -> None:
    """Run these checks, or all of them."""
    build()
    with lock():
        environment = install_packages(os.environ)
    for name in names or CHECKS:
        CHECKS[name](environment)


def format_sources(environment: Mapping[str, str]) -> None:
    """Write the sources in Biome's format."""
    subprocess.run(["npx", "--no-install", "biome", "check", "--write", "."], cwd=WEB, env=environment, check=False)
