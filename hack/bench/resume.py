"""What the journal of a run costs, and what going on by it takes: in the evaluator image, without a cluster."""

import json
import subprocess
from pathlib import Path
from typing import Any

import deployment
from deployment import CommandFailed
from image_container import Container

from bench.rows import Row

SCRIPT = Path(__file__).with_name("inside_resume.py")
CONTAINER = "lmms-eval-bench-resume"
DOCUMENTS = 10_000
SHARE, MICROSECONDS, RESUME_SECONDS = 1.0, 60.0, 2.0


def measure() -> list[Row]:
    """Runs the script in the image of this checkout."""
    deployment.program("images", "build", "evaluator")
    image = json.loads(deployment.IMAGES.read_text())["evaluator"]
    done = Container(CONTAINER, image).run(["python", "-c", SCRIPT.read_text()], stdout=subprocess.PIPE)
    if done.returncode:
        raise CommandFailed("the runs in the evaluator image failed; their own message is above")
    return rows(json.loads(done.stdout.splitlines()[-1]))
