"""From the start of the evaluator container to the first answer, and the loading of a model: in the image, with what we
do for it and without, in turns.

Without is `LMMS_EVAL_WARM_START=0`: lmms-eval is started as it starts by itself. The bytecode of the standard library,
which the image has in any case, is not taken away for it.
"""

import json
from pathlib import Path
from typing import Any

from deployment import Deployment, bare_pod, wait_until

from bench.rows import Row

SCRIPT = Path(__file__).with_name("inside_evaluator.py")
# Of what it takes without: adapters that need no transformers, and those that do.
TARGETS = {"dummy": 0.55, "llava_hf": 0.70}
WAIT_SECONDS = 1200
POD = "bench-start-up"


def measure(release: Deployment, image: str) -> list[Row]:
    """Runs the script in a pod of the image."""
    release(
        "create", "-f", "-", stdin=json.dumps(bare_pod(POD, image=image, command=["python", "-c", SCRIPT.read_text()]))
    )

    def ended() -> str | None:
        phase = release.json("get", "pod", POD)["status"]["phase"]
        return str(phase) if phase in ("Succeeded", "Failed") else None

    wait_until(ended, seconds=WAIT_SECONDS, what=f"the pod {POD}")
    log = release("logs", POD)
    release("delete", "pod", POD)
    return rows(json.loads(log.splitlines()[-1]))


def rows(found: dict[str, Any]) -> list[Row]:
    """What the script has printed, as rows."""
    measured = []
    for adapter, seconds in found["startUp"].items():
        floor = f"{seconds['warm']:.1f} s of {seconds['plain']:.1f} s"
        measured.append(Row(f"start-up, {adapter}", seconds["warm"] / seconds["plain"], "×", TARGETS[adapter], floor))
    weights = found["weights"]
    return [
        *measured,
        Row(
            "5 GB of weights from a cold page cache, loaded in",
            weights["ahead"],
            "s",
            weights["plain"],
            "no slower than without",
        ),
        Row("the same without reading ahead", weights["plain"], "s"),
    ]
