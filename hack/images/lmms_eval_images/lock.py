"""The locked requirements of the images, with hashes: made by uv, from what the members and the .in files ask for."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from .console import ImageError, say

_CORE = "lmms-eval-core"
_FLAGS = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--quiet")
_SERVICES = ("operator", "api", "reporter")


class Lock(NamedTuple):
    """A lock file and what it is made from: names below the root, requirements, further arguments for uv."""

    path: str
    source: str
    requirements: str
    options: tuple[str, ...] = ()


def write(root: Path, *, upgrade: bool) -> None:
    """Write all of them; versions stay where they can, unless `upgrade`.

    Raises ImageError where uv is missing or finds no solution.
    """
    for lock in [*(_service(root, name) for name in _SERVICES), *_others(root)]:
        say(f"Writing {lock.path}")
        _compile(root, lock, upgrade=upgrade)


def service_requirements(member: dict[str, Any], core: dict[str, Any]) -> list[str]:
    """List what a member needs from the index: its own requirements, and those of core with the extras
    that it names.
    """
    own = [requirement for requirement in member["project"]["dependencies"] if not requirement.startswith(_CORE)]
    of_core = list(core["project"]["dependencies"])
    for requirement in member["project"]["dependencies"]:
        for extra in _core_extras(requirement):
            of_core += core["project"]["optional-dependencies"][extra]
    return sorted({*own, *of_core})


def _core_extras(requirement: str) -> list[str]:
    if not requirement.startswith(f"{_CORE}["):
        return []
    return [extra.strip() for extra in requirement.partition("[")[2].partition("]")[0].split(",")]


def _service(root: Path, name: str) -> Lock:
    member, core = (tomllib.loads((root / folder / "pyproject.toml").read_text()) for folder in (name, "core"))
    source = f"{name}/pyproject.toml and core/pyproject.toml"
    # The versions that the tests ran with are the versions that ship.
    return Lock(
        f"{name}/requirements.lock",
        source,
        "\n".join(service_requirements(member, core)),
        ("-c", "requirements-dev.lock"),
    )


def _others(root: Path) -> list[Lock]:
    harness, build = "evaluator-image/requirements", "hack/images/requirements-build"
    node = "hack/web/requirements-node"
    return [
        Lock(
            f"{harness}.lock",
            f"{harness}.in",
            (root / f"{harness}.in").read_text(),
            ("--fork-strategy", "fewest", "--override", f"{harness}-override.in"),
        ),
        Lock(f"{build}.lock", f"{build}.in", (root / f"{build}.in").read_text()),
        Lock(f"{node}.lock", f"{node}.in", (root / f"{node}.in").read_text()),
    ]


def _compile(root: Path, lock: Lock, *, upgrade: bool) -> None:
    uv = root / ".venv" / "bin" / "uv"
    if not uv.exists():
        raise ImageError("uv is missing, which makes lock files: run `make setup` first.")
    origin = ("--custom-compile-command", f"python3 hack/images lock, from {lock.source}")
    command = [
        str(uv),
        "pip",
        "compile",
        *_FLAGS,
        *lock.options,
        *origin,
        *(["--upgrade"] if upgrade else []),
        "-o",
        lock.path,
        "-",
    ]
    done = subprocess.run(command, cwd=root, input=lock.requirements, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"{lock.path} could not be made:\n{done.stderr.strip()}")
