"""Runs inside the evaluator image, given to its Python as text: answers requests with the journal and without it, and
prints processor seconds, as the last line, in JSON.
"""

import copy
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lmms_eval_core.run import HarnessArguments, RunInput
from lmms_eval_runner.journal import attach, chunk_size

ANSWERS = 10_000
ROUNDS = 3
ANSWER = "x" * 240


def make_requests() -> list[Any]:
    """As lmms-eval makes them for a task without pictures."""
    from lmms_eval.api.instance import Instance

    kwargs = {"temperature": 0, "max_new_tokens": 16, "until": ["\n\n"]}
    return [
        Instance(
            request_type="generate_until",
            arguments=(f"question {number}", copy.deepcopy(kwargs), len, number, "task", "test"),
            idx=0,
            metadata={"task": "task", "doc_id": number, "repeats": 1},
        )
        for number in range(ANSWERS)
    ]


def make_adapter() -> Any:
    """One that answers at once."""
    from lmms_eval.models.simple.dummy import Dummy

    adapter = Dummy()
    adapter.generate_until = lambda requests: [f"{ANSWER}{request.doc_id}" for request in requests]
    return adapter


def answer(directory: Path | None, attempt: int = 1, *, opened: bool = True) -> float:
    """Answer all requests, with a journal in `directory`; return the processor seconds.

    Those of opening it, which are the same for any number of answers, count where it is not `opened` before.
    """
    adapter, requests = make_adapter(), make_requests()
    if directory:
        run = RunInput(
            namespace="ns",
            name="e",
            uid="u",
            attempt=attempt,
            harness=HarnessArguments(model="dummy", tasks=["task"]),
        )
        attach.attach_journal(adapter, run, directory, meter=None, environ={})
    if opened:
        adapter.generate_until(make_requests()[:1])
    begun = time.process_time()
    adapter.generate_until(requests)
    return time.process_time() - begun


def measure(target: float) -> tuple[float, float, int]:
    """Return the seconds that the journal adds, those of a resume, and the size of the journal."""
    chunk_size.TARGET_SECONDS = target  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        added = answer(directory) - answer(None)
        (path,) = (directory / "journal").iterdir()
        size = path.stat().st_size
        (directory / "journal").rename(directory / "earlier")
        return added, answer(directory, attempt=2, opened=False), size


def main() -> None:
    """Measure chunks of about a second, and chunks of one answer each: the best of some rounds."""
    attach.prepare_journal(
        RunInput(namespace="n", name="e", uid="u", attempt=1, harness=HarnessArguments(model="m", tasks=[]))
    )
    timed = [measure(1.0) for _ in range(ROUNDS)]
    single = [measure(0.0) for _ in range(ROUNDS)]
    found = {
        "timed": min(timed)[0] / ANSWERS,
        "single": min(single)[0] / ANSWERS,
        "resume": min(resume for _, resume, _ in timed),
        "answers": ANSWERS,
        "bytes": timed[0][2] / ANSWERS,
    }
    print(json.dumps(found), flush=True)
    sys.stdout.flush()


main()
