"""What lmms-eval leaves in its output folder: the results file, and the samples of each task. Only what somebody reads."""

import json
import time
from collections.abc import Sequence
from pathlib import Path


def write(output: Path, *, task: str, answers: Sequence[str]) -> None:
    """Both files, in a folder named after the model."""
    folder = output / "stub"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d_%H%M%S")
    samples = [json.dumps({"doc_id": number, "target": "A", "resps": [[answer]]}) for number, answer in enumerate(answers)]
    (folder / f"{stamp}_samples_{task}.jsonl").write_text("\n".join(samples) + "\n")
    (folder / f"{stamp}_results.json").write_text(json.dumps(results(task, answers)))


def results(task: str, answers: Sequence[str]) -> dict[str, object]:
    """The share of right answers."""
    right = sum(answer == "A" for answer in answers) / len(answers)
    return {
        "results": {task: {"alias": task, "accuracy,none": right, "accuracy_stderr,none": 0.0}},
        "n-samples": {task: {"original": len(answers), "effective": len(answers)}},
        "config": {"model": "stub"},
    }
