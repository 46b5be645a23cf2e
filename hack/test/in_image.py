"""Runs the harness tier inside the evaluator image, with docker or buildah; the report goes to the path in argv[1].

pytest comes from outside: the image is tested as it is shipped.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "build" / "test" / "pytest"
SOURCE, REPORT = "/src", "/report"
TESTS = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis")


def install_pytest() -> None:
    """pytest and its plugins in a folder of their own, in the locked versions."""
    if PLUGINS.exists():
        return
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(PLUGINS)]
    subprocess.run([*command, "--constraints", str(ROOT / "requirements-dev.lock"), *TESTS], check=True)


def inside(report: Path) -> list[str]:
    """The command in the container."""
    path = f"PYTHONPATH={SOURCE}/build/test/pytest"
    environment = ["/usr/bin/env", path, "PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp"]
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-m", "harness", "--timeout=300"]
    return [*environment, "python", "-m", "pytest", *options, f"--junit-xml={REPORT}/{report.name}", f"{SOURCE}/tests/runner"]


def with_docker(image: str, report: Path) -> int:
    """`docker run`, gone afterwards."""
    mounts = ["-v", f"{ROOT}:{SOURCE}:ro", "-v", f"{report.parent}:{REPORT}"]
    command = ["docker", "run", "--rm", "--entrypoint", "", "--user", "0", "-w", SOURCE, *mounts, image]
    return subprocess.run([*command, *inside(report)], check=False).returncode


def with_buildah(image: str, report: Path) -> int:
    """A working container over the image's layers, gone afterwards."""
    container = subprocess.run(
        ["buildah", "from", "--pull-never", image], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    mounts = ["-v", f"{ROOT}:{SOURCE}:ro", "-v", f"{report.parent}:{REPORT}"]
    command = ["buildah", "run", "--isolation", "chroot", "--network", "host", "--user", "0", "--workingdir", SOURCE, *mounts]
    try:
        return subprocess.run([*command, container, "--", *inside(report)], check=False).returncode
    finally:
        subprocess.run(["buildah", "rm", container], stdout=subprocess.DEVNULL, check=False)


def main() -> int:
    """pytest's exit status."""
    report = Path(sys.argv[1])
    report.parent.mkdir(parents=True, exist_ok=True)
    install_pytest()
    image = json.loads((ROOT / "build" / "images.json").read_text())["evaluator"]
    engine = shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    return with_docker(image, report) if engine else with_buildah(image, report)


if __name__ == "__main__":
    sys.exit(main())
