"""A stand-in for `python -m lmms_eval`: it evaluates nothing, and starts at once instead of importing for 20 s.

Its command line, its files, its log lines and its exit codes are those of lmms-eval as far as the runner reads them.
Runner, reporter, operator, chart and cluster around it are the real ones. There is one more difference: the plug-in
that counts tqdm's progress bars inside lmms-eval is absent, so the stand-in itself feeds the runner's `Meter`.

Environment variables control how a run behaves (`behaviour`); `slot_lock` detects other runs in the same slot.
"""

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmms_eval_runner.arguments import SWITCHES, VALUES
from lmms_eval_runner.meter import Meter

from .answer_journal import AnswerJournal
from .answers import ANSWERS, TASK, compute_scores, make_answer, make_target
from .behaviour import StubBehaviour, StubEnding
from .slot_lock import SlotJournal, SlotLock

SUMMARY = "{model} (), gen_kwargs: (), limit: {limit}, offset: 0, num_fewshot: None, batch_size: 1"


@dataclass
class StubBar:
    """The fields of a progress bar that the meter reads."""

    desc: str = "Model Responding"
    n: float = 0
    initial: float = 0
    total: float | None = ANSWERS
    disable: bool = False


def main() -> int:
    """Run an evaluation; return 0 even after an exception, as lmms-eval does."""
    options = build_parser().parse_args()
    behaviour = StubBehaviour.from_environment(os.environ)
    if behaviour.is_stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lock = SlotLock(SlotJournal.from_environment(os.environ), slots=behaviour.slots)
    lock.acquire()
    try:
        evaluate(options, behaviour)
    except (ConnectionError, RuntimeError, ValueError) as error:
        traceback.print_exc()
        log("ERROR", "lmms_eval.__main__:cli_evaluate:614", f"Error during evaluation: {error}.")
    lock.report_end()
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return a parser that accepts the flags which the runner passes, and refuses all others, as lmms-eval does."""
    parser = argparse.ArgumentParser(prog="lmms_eval")
    for name in ("model", "tasks", "model_args", "output_path", "timezone", *VALUES):
        parser.add_argument(f"--{name}")
    for name in SWITCHES:
        parser.add_argument(f"--{name}", action="store_true")
    return parser


def evaluate(options: argparse.Namespace, behaviour: StubBehaviour) -> None:
    """Check the tasks, report progress and write the results, unless the behaviour ends the run before."""
    missing = sorted(set(options.tasks.split(",")) - {TASK})
    if missing:
        raise ValueError(f"Tasks not found: {', '.join(missing)}. Try `lmms-eval --tasks list`")
    directory = Path(os.environ["LMMS_EVAL_RUN_DIRECTORY"])
    meter = Meter(directory, time.time)
    # There is no model that could get others.
    meter.record_loading(exact_model_args=True)
    time.sleep(behaviour.seconds / 4)
    meter.record_loaded()
    answers = list(generate_answers(meter, AnswerJournal(directory), behaviour))
    if behaviour.ending is StubEnding.SILENT:
        sys.exit(0)
    write_results(Path(options.output_path), answers)
    print(SUMMARY.format(model=options.model, limit=options.limit), flush=True)


def generate_answers(meter: Meter, journal: AnswerJournal, behaviour: StubBehaviour) -> Iterator[str]:
    """Yield the answers, those of earlier attempts at once and the others at equal intervals; halfway through, raise
    what the behaviour asks for.
    """
    if journal.resumed:
        meter.record_resumed(journal.resumed)
    meter.record_started_anew(journal.started_anew)
    bar = StubBar(initial=journal.resumed.answers if journal.resumed else 0)
    meter.read_bar(bar)
    for number in range(ANSWERS):
        answer = journal.find(number)
        if answer is None:
            time.sleep(behaviour.seconds / ANSWERS)
        if number == ANSWERS // 2:
            raise_configured_error(behaviour)
        if answer is None:
            answer = generate_answer(number, behaviour)
            # As in a real run, what has failed is not kept.
            if answer:
                journal.append(number, answer, seconds=behaviour.seconds / ANSWERS)
                meter.record_journaled(1)
        yield answer
        bar.n += 1
        meter.read_bar(bar)
    meter.read_closing_bar(bar)


def raise_configured_error(behaviour: StubBehaviour) -> None:
    """Raise the exception with which the behaviour ends the run, if it has one."""
    if behaviour.is_unreachable:
        raise ConnectionError("Connection refused: the stub was told that its judge is away")
    if behaviour.ending is StubEnding.RAISE:
        raise RuntimeError("the stub was told to fail")


def generate_answer(number: int, behaviour: StubBehaviour) -> str:
    """Return an answer; one that fails is logged and empty, as lmms-eval's adapters swallow errors."""
    answer = make_answer(number, behaviour.ending)
    if not answer:
        log("ERROR", "lmms_eval.models.chat.stub:generate_until:1", "Error the stub was told to swallow in generating")
    return answer


def log(level: str, place: str, text: str) -> None:
    """Print a line as lmms-eval logs it."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} | {level:8} | {place} - {text}", flush=True)


def write_results(output: Path, answers: Sequence[str]) -> None:
    """Write the results file and the samples, as far as our own code reads them, to a folder of the model's name."""
    folder = output / "stub"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d_%H%M%S")
    samples = [
        {"doc_id": number, "target": make_target(number), "resps": [[answer]]} for number, answer in enumerate(answers)
    ]
    lines = "".join(json.dumps(sample) + "\n" for sample in samples)
    (folder / f"{stamp}_samples_{TASK}.jsonl").write_text(lines)
    (folder / f"{stamp}_results.json").write_text(json.dumps(build_results(answers)))


def build_results(answers: Sequence[str]) -> dict[str, object]:
    """Return the content of the results file."""
    return {
        "results": {TASK: {"alias": TASK, **compute_scores(answers), "accuracy_stderr,none": 0.0}},
        "n-samples": {TASK: {"original": len(answers), "effective": len(answers)}},
        "config": {"model": "stub"},
    }


if __name__ == "__main__":
    sys.exit(main())
