"""What the journal costs a run, for each answer and when an attempt goes on: in the evaluator image."""

import json
from pathlib import Path
from typing import Any

from deployment import Deployment, bare_pod, wait_until

from bench.rows import Row

SCRIPT = Path(__file__).with_name("inside_evaluator_journal.py")
WAIT_SECONDS = 300
POD = "bench-journal"
# An answer of a small model on a GPU.
SECONDS_PER_ANSWER = 0.05


def measure(release: Deployment, image: str) -> list[Row]:
    """Runs the script in a pod of the image."""
    pod = bare_pod(POD, image=image, command=["python", "-c", SCRIPT.read_text()])
    release("create", "-f", "-", stdin=json.dumps(pod))

    def ended() -> str | None:
        phase = release.json("get", "pod", POD)["status"]["phase"]
        return str(phase) if phase in ("Succeeded", "Failed") else None

    wait_until(ended, seconds=WAIT_SECONDS, what=f"the pod {POD}")
    log = release("logs", POD)
    release("delete", "pod", POD)
    return rows(json.loads(log.splitlines()[-1]))


def rows(found: dict[str, Any]) -> list[Row]:
    """What the script has printed, as rows."""
    share = 100 * found["single"] / SECONDS_PER_ANSWER
    return [
        Row("journal, an answer in chunks of a second", found["timed"] * 1e6, "µs", 60),
        Row("journal, share of a run at 50 ms an answer", share, "%", 1, "each answer its own chunk"),
        Row(f"journal, {found['answers']} answers of an earlier attempt", found["resume"], "s", 2),
        Row("journal, size", found["bytes"], "bytes an answer"),
    ]
