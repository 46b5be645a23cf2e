"""Prometheus' own checker, of the version that hack/cluster pins."""

import subprocess
from pathlib import Path

import deployment
from provided import program


def promtool(*arguments: str, stdin: str = "", folder: Path | None = None) -> str:
    """All that it says; deployment.CommandFailed, with its words, if it finds fault."""
    command = [program("promtool"), *arguments]
    done = subprocess.run(
        command, input=stdin, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise deployment.CommandFailed(done.stdout)
    return done.stdout
