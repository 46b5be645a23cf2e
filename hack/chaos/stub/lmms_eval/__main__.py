"""A stand-in for `python -m lmms_eval`: it evaluates nothing, and takes seconds where the real one imports for twenty.

Its command line, the files that it writes, its last words and its exit codes are those of lmms-eval, as far as the runner
looks at them. Runner, reporter, operator, chart and cluster around it are the real ones. One thing more is not: the plug-in
that counts tqdm's bars inside lmms-eval is absent, and the runner's own `Meter`, which that plug-in feeds, is fed here.

The environment says how a run goes (`knobs`), and `journal` makes it prove that nobody else runs in its slot.
"""

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lmms_eval_runner.arguments import SWITCHES, VALUES
from lmms_eval_runner.meter import Meter

from .files import write
from .journal import Journal, Slot
from .knobs import Ending, Knobs

TASK = "stub_vqa"
ANSWERS = 8
SUMMARY = "{model} (), gen_kwargs: (), limit: {limit}, offset: 0, num_fewshot: None, batch_size: 1"


@dataclass
class Bar:
    """What the meter sees of a progress bar."""

    desc: str = "Model Responding"
    n: float = 0
    total: float | None = ANSWERS
    disable: bool = False


def main() -> int:
    """0 even after an exception, as lmms-eval."""
    options = parser().parse_args()
    knobs = Knobs.of(os.environ)
    if knobs.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    slot = Slot(Journal.of(os.environ), slots=knobs.slots)
    slot.take()
    try:
        evaluate(options, knobs)
    except (ConnectionError, RuntimeError, ValueError) as error:
        traceback.print_exc()
        log("ERROR", "lmms_eval.__main__:cli_evaluate:614", f"Error during evaluation: {error}.")
    slot.leave()
    return 0


def parser() -> argparse.ArgumentParser:
    """Takes what the runner gives, and refuses anything else, as lmms-eval does."""
    top = argparse.ArgumentParser(prog="lmms_eval")
    for name in ("model", "tasks", "model_args", "output_path", "timezone", *VALUES):
        top.add_argument(f"--{name}")
    for name in SWITCHES:
        top.add_argument(f"--{name}", action="store_true")
    return top


def evaluate(options: argparse.Namespace, knobs: Knobs) -> None:
    """From the task's name to the results file, unless the knobs have it end before."""
    missing = sorted(set(options.tasks.split(",")) - {TASK})
    if missing:
        raise ValueError(f"Tasks not found: {', '.join(missing)}. Try `lmms-eval --tasks list`")
    meter = Meter(Path(os.environ["LMMS_EVAL_RUN_DIRECTORY"]), time.time)
    meter.record_loading(exact_model_args=False)
    time.sleep(knobs.seconds / 4)
    meter.record_loaded()
    answers = list(respond(meter, knobs))
    if knobs.ending is Ending.SILENT:
        sys.exit(0)
    write(Path(options.output_path), task=TASK, answers=answers)
    print(SUMMARY.format(model=options.model, limit=options.limit), flush=True)


def respond(meter: Meter, knobs: Knobs) -> Iterator[str]:
    """The answers, one after the other; halfway through it happens what was asked for."""
    bar = Bar()
    meter.read_bar(bar)
    for number in range(ANSWERS):
        time.sleep(knobs.seconds / ANSWERS)
        if number == ANSWERS // 2:
            misbehave(knobs)
        yield answer(number, knobs.ending)
        bar.n += 1
        meter.read_bar(bar)
    meter.read_closing_bar(bar)


def misbehave(knobs: Knobs) -> None:
    """What ends a run in its midst."""
    if knobs.unreachable:
        raise ConnectionError("Connection refused: the stub was told that its judge is away")
    if knobs.ending is Ending.RAISE:
        raise RuntimeError("the stub was told to fail")


def answer(number: int, ending: Ending) -> str:
    """One answer; one that failed is swallowed as adapters swallow it: told in the log, and empty."""
    if ending is Ending.SWALLOW or (ending is Ending.SUSPECT and number % 2):
        log("ERROR", "lmms_eval.models.chat.stub:generate_until:1", "Error the stub was told to swallow in generating")
        return ""
    return "A"


def log(level: str, place: str, text: str) -> None:
    """A line of lmms-eval's log."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} | {level:8} | {place} - {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
