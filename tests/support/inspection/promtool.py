"""promtool, Prometheus' checker of rules and metrics, in the version that hack/cluster pins."""

import subprocess
from pathlib import Path

import deployment
from provided import find_program


def run_promtool(*arguments: str, stdin: str = "", folder: Path | None = None) -> str:
    """Return what promtool prints; raise deployment.CommandFailed with it if promtool finds an error."""
    command = [find_program("promtool"), *arguments]
    done = subprocess.run(
        command, input=stdin, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise deployment.CommandFailed(done.stdout)
    return done.stdout
