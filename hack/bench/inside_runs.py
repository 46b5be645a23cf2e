"""Runs of lmms-eval over stand-in models, inside the evaluator image, for `inside_resume` and `inside_kills`.

The process imports lmms-eval once and forks for each run, whose adapter is lmms-eval's own: `dummy`, whose answers come
from here, and `vllm` on an engine that only counts.
"""

import json
import os
import shutil
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

DOCUMENTS = 10_000
BATCH_SIZE = 16
ANSWER = "The picture shows a street with " + ", ".join(f"{count} houses" for count in range(10, 28)) + "."
# A token of the hub is there as a rule, and every line is searched for it.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_TOKEN": "hf_stand_in_for_a_token_of_the_hub",
}
NEVER, ALWAYS = "never", "sameHardware"
MEASURED, LOG, TIMES = "measured.json", "log.txt", "times"

TASK = """\
task: bench
dataset_path: json
dataset_kwargs:
  data_files:
    test: {folder}/bench.jsonl
test_split: test
output_type: generate_until
doc_to_visual: !function bench.doc_to_visual
doc_to_text: !function bench.doc_to_text
doc_to_target: answer
generation_kwargs:
  max_new_tokens: 64
  temperature: 0
  do_sample: false
process_results: !function bench.process_results
metric_list:
  - metric: bench
    aggregation: mean
    higher_is_better: true
"""
FUNCTIONS = """\
def doc_to_visual(doc):
    return []

def doc_to_text(doc):
    return doc["question"]

def process_results(doc, results):
    return {"bench": 1.0}
"""


class Call(NamedTuple):
    """What the call of an adapter took, as lmms-eval sees it; `opening` is the journal's part before it asks."""

    seconds: float
    cpu: float
    opening: float = 0.0
    opening_cpu: float = 0.0


class Run(NamedTuple):
    """A run in `directory`; `earlier` is that of a run whose journal it goes on with.

    In single chunks each answer is one, as where the model takes a second for it. Where it is recorded, `TIMES` has the
    Unix time of each answer, as a double: what a process that is killed has computed.
    """

    directory: Path
    limit: int
    model: str = "dummy"
    resume: str = ALWAYS
    answer_seconds: float = 0.0
    in_single_chunks: bool = False
    recorded: bool = False
    earlier: Path | None = None


class Runs:
    """The runs of this program; their directories are below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tasks = folder / "tasks"
        self._count = 0
        _write_task(self._tasks)

    @property
    def directory(self) -> Path:
        """That of the last run."""
        return self._folder / str(self._count)

    def fork(self, limit: int, **settings: Any) -> tuple[Run, int]:
        """Starts a run in a process of its own, whose id comes with it."""
        self._count += 1
        run = Run(self.directory, limit, **settings)
        print(run, file=sys.stderr, flush=True)
        self._prepare(run)
        return run, os.fork() or _be(run)

    def _prepare(self, run: Run) -> None:
        for name in ("journal", "work"):
            (run.directory / name).mkdir(parents=True)
        if run.earlier:
            shutil.copytree(run.earlier / "journal", run.directory / "earlier")
        harness = {
            "model": run.model,
            "modelArgs": {"model": "stand-in"} if run.model == "vllm" else {},
            "tasks": ["bench"],
            "includePath": str(self._tasks),
            "limit": run.limit,
            "batchSize": BATCH_SIZE if run.model == "vllm" else 1,
            "logSamples": False,
        }
        given = {"namespace": "bench", "name": "resume", "uid": "1", "attempt": 2 if run.earlier else 1}
        (run.directory / "run.json").write_text(json.dumps(given | {"harness": harness, "resume": run.resume}))


def _write_task(folder: Path) -> None:
    folder.mkdir()
    (folder / "bench.yaml").write_text(TASK.format(folder=folder))
    (folder / "bench.py").write_text(FUNCTIONS)
    with (folder / "bench.jsonl").open("w") as file:
        for number in range(DOCUMENTS):
            question = (
                f"How many houses are there on picture {number}? Answer with a sentence that tells all that is seen."
            )
            file.write(json.dumps({"question": question, "answer": f"{number} houses"}) + "\n")


# --- the process of a run ---


def _be(run: Run) -> int:
    """Is that run; never returns."""
    code = 1
    try:
        os.environ["LMMS_EVAL_RUN_DIRECTORY"] = str(run.directory)
        os.chdir(run.directory / "work")
        log = os.open(run.directory / LOG, os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        measured = _evaluate(run)
        (run.directory / MEASURED).write_text(json.dumps(measured))
        code = 0
    except BaseException:  # noqa: BLE001 - the parent shows the log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _evaluate(run: Run) -> dict[str, Any]:
    """Runs lmms-eval as the runner starts it, up to its end; the call of the adapter, and what the model was asked."""
    from lmms_eval.__main__ import cli_evaluate

    from lmms_eval_core.run import RunInput
    from lmms_eval_runner import progress
    from lmms_eval_runner.arguments import build_command
    from lmms_eval_runner.journal import chunk_size

    given = RunInput.model_validate_json((run.directory / "run.json").read_text())
    progress.install()
    if run.in_single_chunks:
        chunk_size.TARGET_SECONDS = 0.0  # type: ignore[misc]
    batches: list[int] = []
    _stand_in_for_vllm(batches)
    _stand_in_for_answers(run, batches)
    watches = _time_calls()
    sys.argv = ["lmms_eval", *build_command(given, python="", output=run.directory / "output", port=0)[3:]]
    cli_evaluate()
    (seconds, cpu), (opening, opening_cpu) = watches["call"], watches.get("opening", (0.0, 0.0))
    call = Call(seconds, cpu, opening, opening_cpu)
    return {"call": call._asdict(), "batches": batches, "asked": sum(batches)}


def _time_calls() -> dict[str, tuple[float, float]]:
    """Seconds and processor time of the first call of the adapter, and of the journal's opening in it, when over."""
    from lmms_eval.api.model import lmms

    from lmms_eval_runner.journal.run_journal import RunJournal

    watches: dict[str, tuple[float, float]] = {}
    make, open_journal = lmms.create_from_arg_string.__func__, RunJournal.open

    def create(cls: Any, *args: Any, **kwargs: Any) -> Any:
        adapter = make(cls, *args, **kwargs)
        adapter.generate_until = _time(adapter.generate_until, watches, "call")
        return adapter

    lmms.create_from_arg_string = classmethod(create)
    RunJournal.open = _time(open_journal, watches, "opening")  # type: ignore[method-assign]
    return watches


def _time(function: Callable[..., Any], watches: dict[str, tuple[float, float]], name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        began, cpu = time.perf_counter(), time.process_time()
        answer = function(*args, **kwargs)
        watches.setdefault(name, (time.perf_counter() - began, time.process_time() - cpu))
        return answer

    return call


# --- the stand-ins ---


def _stand_in_for_answers(run: Run, batches: list[int]) -> None:
    """`dummy` sorts, batches and records as most adapters do, and takes its seconds for an answer."""
    from lmms_eval.api.instance import GenerationResult, TokenCounts
    from lmms_eval.models.model_utils import gen_metrics
    from lmms_eval.models.simple.dummy import Dummy
    from lmms_eval.utils import Collator
    from tqdm import tqdm

    times = os.open(run.directory / TIMES, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if run.recorded else None

    def generate_until(self: Any, requests: list[Any]) -> Any:
        bar, answers = tqdm(total=len(requests), desc="Model Responding"), []
        collator = Collator(
            [request.args for request in requests], lambda args: (-len(args[0]), args[0]), grouping=True
        )
        for batch in collator.get_batched(n=1, batch_fn=None):
            if run.answer_seconds:
                time.sleep(run.answer_seconds)
            if times is not None:
                os.write(times, struct.pack("d", time.time()))
            batches.append(len(batch))
            answers.append(GenerationResult(f"{batch[0][3]}: {ANSWER}", TokenCounts(output_tokens=60)))
            bar.update(1)
        gen_metrics.log_metrics(1.0, 60 * len(answers), 60.0 * len(answers))
        bar.close()
        return collator.get_original(answers)

    Dummy.generate_until = generate_until


def _stand_in_for_vllm(batches: list[int]) -> None:
    """The engine under lmms-eval's adapter for vLLM: it counts what it is asked for at once."""

    class LLM:
        def __init__(self, **kwargs: Any) -> None:
            self.generated = 0

        def chat(self, messages: list[Any], **kwargs: Any) -> list[Any]:
            batches.append(len(messages))
            self.generated += 60 * len(messages)
            return [SimpleNamespace(outputs=[SimpleNamespace(text=ANSWER)]) for _ in messages]

        def get_metrics(self) -> Iterator[Any]:
            yield SimpleNamespace(name="vllm:generation_tokens", value=self.generated)

    module = ModuleType("vllm")
    module.__spec__ = ModuleSpec("vllm", None)
    module.__dict__.update(LLM=LLM, SamplingParams=SimpleNamespace)
    sys.modules["vllm"] = module


def import_harness(folder: Path) -> None:
    """Imports lmms-eval as the runner starts it: collection of garbage, too, begins in each run when its adapter is
    chosen.
    """
    os.environ |= ENVIRONMENT | {"HF_HOME": f"{folder}/hf"}
    from lmms_eval_runner import warm_start

    shortcuts = (warm_start.parse_yaml_in_c, warm_start.import_late, warm_start.import_without_collecting_garbage)
    warm_start.apply_shortcuts(*shortcuts)
    import lmms_eval.__main__  # noqa: F401
