"""From what a run left behind to its outcome. Success is a fresh results file that parses, and nothing else."""

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NamedTuple

from lmms_eval_core.failures import exit_code
from lmms_eval_core.phases import Reason
from lmms_eval_core.results import InvalidResults
from lmms_eval_core.run import MAX_JSON_BYTES, AnswerCounts, Outcome, RunInput, Timings

from .answers import Answers, count_answers, count_without_samples
from .arguments import MODEL_KEYS, model_arg, reads_back
from .classify import Evidence, Verdict, classify, classify_answers, not_saved
from .disk import FullVolumes
from .meter import MARKS_FILE, Marks
from .output import Output, answers_expected, find_output, read_results
from .supervise import End
from .watch import LogWatch

PACKAGES: Final = ("lmms-eval", "torch", "transformers", "accelerate", "vllm", "sglang")
_ENDPOINT_KEYS: Final = ("base_url", "api_base")


class Remains(NamedTuple):
    """What is left after the end of the harness; times are Unix seconds."""

    run: RunInput
    directory: Path
    end: End
    watch: LogWatch
    memory_kills: int
    full: FullVolumes
    mount_points: Sequence[str]
    started_at: float
    ended_at: float


def judge(remains: Remains) -> Outcome:
    """How the run ended, with everything there is to tell about it."""
    output = find_output(remains.run, remains.directory)
    marks = read_marks(remains.directory)
    verdict, answers = _verdict(remains, output, marks)
    return Outcome(
        reason=verdict.reason,
        exit_code=exit_code(verdict.reason),
        message=verdict.message,
        harness_exit_code=remains.end.exit_code,
        results=output.results,
        samples=output.samples,
        answers=answers,
        timings=_timings(marks, remains),
        versions=versions(PACKAGES),
    )


def refused(verdict: Verdict) -> Outcome:
    """The outcome of a run that was not even started."""
    return Outcome(
        reason=verdict.reason, exit_code=exit_code(verdict.reason), message=verdict.message, versions=versions(PACKAGES)
    )


def read_marks(directory: Path) -> Marks:
    """What `progress` left; empty marks where it left nothing that can be read."""
    try:
        with (directory / MARKS_FILE).open("rb") as file:
            return Marks.model_validate_json(file.read(MAX_JSON_BYTES))
    except (OSError, ValueError):
        return Marks()


def versions(packages: Iterable[str], lookup: Callable[[str], str] = version) -> dict[str, str]:
    """The versions of those `packages` that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = lookup(package)
        except PackageNotFoundError:
            continue
    return found


def _verdict(remains: Remains, output: Output, marks: Marks) -> tuple[Verdict, AnswerCounts]:
    nothing = AnswerCounts(swallowed_errors=remains.watch.swallowed)
    if remains.end.stopped:
        return Verdict(Reason.INTERRUPTED, "the pod was asked to end before the evaluation was over"), nothing
    if output.results is None:
        return classify(_evidence(remains)), nothing
    try:
        results = read_results(remains.directory / output.results)
    except InvalidResults as error:
        verdict = classify(_evidence(remains))
        return verdict if verdict.reason is Reason.DISK_FULL else Verdict(Reason.EVALUATION_ERROR, str(error)), nothing
    answers = _answers(remains, output, results)
    return _of_results(remains, marks, answers), answers.counts


def _of_results(remains: Remains, marks: Marks, answers: Answers) -> Verdict:
    if not marks.exact_model_args and not reads_back(remains.run.harness.model_args):
        return Verdict(
            Reason.BAD_ARGUMENTS,
            "this image cannot hand over spec.modelArgs unchanged, because lmms-eval did not load the entry point"
            " lmms_eval_runner_progress; use simple values, or an image in which lmms-eval-runner is installed",
        )
    if answers.counts.all_failed:
        example = answers.example or remains.watch.example
        return classify_answers(
            example, answers.counts.samples, endpoint=model_arg(remains.run.harness.model_args, _ENDPOINT_KEYS)
        )
    return Verdict(Reason.SUCCEEDED, _after_success(remains))


def _after_success(remains: Remains) -> str:
    """What happened after the results were written changes nothing about them, and is told."""
    if said := not_saved(tuple(remains.watch.lines)):
        return f"lmms-eval could not save all samples: {said}"
    code = remains.end.exit_code
    return f"lmms-eval ended with exit code {code} after it had written its results" if code else ""


def _answers(remains: Remains, output: Output, results: dict[str, Any]) -> Answers:
    watch = remains.watch
    if output.samples:
        return count_answers((remains.directory / path for path in output.samples.values()), swallowed=watch.swallowed)
    return count_without_samples(total=answers_expected(results), swallowed=watch.swallowed, gave_up=watch.gave_up)


def _evidence(remains: Remains) -> Evidence:
    return Evidence(
        exit_code=remains.end.exit_code,
        lines=tuple(remains.watch.lines),
        memory_kills=remains.memory_kills,
        full=remains.full,
        mount_points=remains.mount_points,
        gpus=remains.run.gpus,
        model=model_arg(remains.run.harness.model_args, MODEL_KEYS),
        endpoint=model_arg(remains.run.harness.model_args, _ENDPOINT_KEYS),
    )


def _timings(marks: Marks, remains: Remains) -> Timings:
    return Timings(
        load_seconds=_between(marks.loading_at, marks.loaded_at),
        generation_seconds=_between(marks.answering_at, marks.scoring_at or remains.ended_at),
        total_seconds=_between(remains.started_at, remains.ended_at),
    )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(max(0.0, end - start), 3)
