"""Runs inside the evaluator image: lmms-eval over stand-in models, with the journal and without in turns, and runs that
are killed. Prints what the calls of their adapters took.

What `resume` makes rows of is one line of JSON, the last one.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from bench import inside_kills, inside_media
from bench.inside_runs import ALWAYS, DOCUMENTS, LOG, MEASURED, NEVER, Run, Runs, import_harness

ROUNDS = 2
ANSWER_SECONDS, ANSWERS = 0.05, 400
SINGLE_ANSWERS = 2_000
BATCHED = 200


class Bench:
    """What is measured, run by run."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def measure(self) -> dict[str, Any]:
        """All of it."""
        slow = [self._measure_pair(ANSWERS, answer_seconds=ANSWER_SECONDS) for _ in range(ROUNDS)]
        quick = [self._measure_pair(DOCUMENTS) for _ in range(ROUNDS)]
        before = self._runs.directory
        size = sum(path.stat().st_size for path in (before / "journal").iterdir())
        resumed = self._run(DOCUMENTS, earlier=before)["call"]
        single = [self._measure_pair(SINGLE_ANSWERS, in_single_chunks=True) for _ in range(ROUNDS)]
        plain, journaled = (self._run(BATCHED, model="vllm", resume=resume)["batches"] for resume in (NEVER, ALWAYS))
        return {
            "slow": {"answers": ANSWERS, "answerSeconds": ANSWER_SECONDS, "rounds": slow},
            "quick": {"answers": DOCUMENTS, "rounds": quick, "journalBytes": size, "resumed": resumed},
            "single": {"answers": SINGLE_ANSWERS, "answerSeconds": ANSWER_SECONDS, "rounds": single},
            "batches": {"plain": plain, "journaled": journaled},
            "kills": inside_kills.measure(self._runs),
            "media": inside_media.measure(),
        }

    def _measure_pair(self, limit: int, **settings: Any) -> dict[str, dict[str, float]]:
        plain = self._run(limit, resume=NEVER, **settings)
        journaled = self._run(limit, **settings)
        return {"plain": plain["call"], "journaled": journaled["call"]}

    def _run(self, limit: int, **settings: Any) -> dict[str, Any]:
        """Runs to the end; what it measured."""
        run, pid = self._runs.fork(limit, **settings)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            raise RuntimeError(f"{run}: {(run.directory / LOG).read_text()[-3000:]}")
        measured: dict[str, Any] = json.loads((run.directory / MEASURED).read_text())
        _check(run, measured)
        return measured


def _check(run: Run, measured: dict[str, Any]) -> None:
    """Raises RuntimeError where the run was not what is to be measured."""
    progress = json.loads((run.directory / "progress.json").read_text())
    journaled, resumed = progress.get("journaled", 0), progress.get("resumed", {}).get("answers", 0)
    fresh = 0 if run.earlier else run.limit
    wanted = (0, 0, run.limit) if run.resume == NEVER else (fresh, run.limit - fresh, fresh)
    if (journaled, resumed, measured["asked"]) != wanted:
        found = f"{journaled} journaled, {resumed} resumed, {measured['asked']} asked for: not {wanted}"
        raise RuntimeError(f"{run}: {found}; {progress.get('startedAnew')}; {progress.get('journalOff')}")


def main() -> None:
    """Imports lmms-eval, runs, prints."""
    with tempfile.TemporaryDirectory() as name:
        import_harness(Path(name))
        print(json.dumps(Bench(Runs(Path(name))).measure()))
