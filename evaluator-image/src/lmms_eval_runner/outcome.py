"""How an attempt ended: decided here, from what its run left behind, to the `Outcome` that the reporter publishes.

The first of these that applies decides:

    the run must not be started                    `find_refusal`: BadArguments, TaskNotFound
    the pod was asked to end before the run ended  Interrupted
    there is a fresh results file that parses      Succeeded, unless no answer in it is a real one
    a process was killed for memory                OutOfMemory
    the log has a traceback                        what `failure_rules` says of it
    nothing else is known                          by exit code, signal and full volumes

A failure of memory or GPU is judged once more by the journal: another attempt, which begins with the batch that failed,
follows where others came before it in this one, and none where it is the second to fail in it.

lmms-eval exits with 0 when an evaluation raised: its exit code alone never means success. What a class means, its exit
code and whether it is tried again stand in `lmms_eval_core.failures`.
"""

import errno
import os
import re
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from lmms_eval_core.failures import find_exit_code
from lmms_eval_core.paths import find_include_path_problem
from lmms_eval_core.phases import Reason
from lmms_eval_core.results_file import InvalidResults
from lmms_eval_core.run import AnswerCounts, Outcome, RunInput, Timings

from .answer_counts import CountedAnswers, count_answers, count_without_samples
from .arguments import MODEL_KEYS, find_listing_word, find_model_arg, find_problem, is_parsed_exactly
from .disk import NONE_SEEN, SHARED_MEMORY, FullVolumes, find_volume, list_writable_mounts, suggest_remedy
from .environment import HARNESS_PACKAGES, read_package_versions
from .failure_rules import DISK_FULL, LAST_RULES, RULES, FailureRule, find_culprit
from .harness_log_watch import ENDED_BY_EXCEPTION, HarnessLogWatch
from .journal.failed_batches import find_failed_batches, record_failed_batches
from .meter import Marks, read_marks
from .output_files import OutputFiles, count_expected_answers, find_output_files, read_results
from .supervise import HarnessExit
from .tracebacks import ExceptionChain, LoggedException, parse_exception_chains

MAX_TEXT: Final = 400
MAX_MESSAGE: Final = 1024
_ENDPOINT_KEYS: Final = ("base_url", "api_base")

_USAGE_ERROR = re.compile(r"\berror: (?P<text>.+)$")
_NO_SPACE = re.compile(DISK_FULL)
_PATH = re.compile(r"(?<![\w.])/[^\s'\"<>:,;)]+")
_NOT_SAVED = re.compile(r"Could not save results aggregated")
_SIGNAL_OF_A_RANK = re.compile(r"Signal (?P<number>\d+) \(SIG\w+\) received by PID")
# The exception that ended the run says only that another process has failed; that one's traceback stands before it.
_SEE_ELSEWHERE = re.compile(r"root cause|EngineDeadError|Engine core|DataLoader worker|ChildFailedError|worker process")


class RunArtifacts(NamedTuple):
    """What is left of a run after the end of the harness; times are Unix seconds."""

    run: RunInput
    directory: Path
    exit: HarnessExit
    watch: HarnessLogWatch
    memory_kills: int
    full: FullVolumes
    mount_points: Sequence[str]
    started_at: float
    ended_at: float


class Evidence(NamedTuple):
    """What explains a run without results. `exit_code` is negative for a death by signal; `lines` are the end of the
    log.

    `full` are those of `mount_points` whose volumes had no room left. `model` and `endpoint` are what the model
    arguments say; the messages of lmms-eval often leave them out.
    """

    exit_code: int
    lines: Sequence[str]
    memory_kills: int = 0
    full: FullVolumes = NONE_SEEN
    mount_points: Sequence[str] = ()
    gpus: int = 0
    model: str = ""
    endpoint: str = ""


def make_outcome(reason: Reason, message: str) -> Outcome:
    """Return an outcome with the exit code of its reason, and one sentence that names the culprit."""
    return Outcome(reason=reason, exit_code=find_exit_code(reason), message=message)


def decide_outcome(artifacts: RunArtifacts) -> Outcome:
    """Return how the run ended, with everything there is to report about it."""
    files = find_output_files(artifacts.run, artifacts.directory)
    marks = read_marks(artifacts.directory)
    outcome, answers = _decide(artifacts, files, marks)
    outcome.harness_exit_code = artifacts.exit.exit_code
    outcome.results, outcome.samples, outcome.answers = files.results, files.samples, answers
    outcome.timings = _compute_timings(marks, artifacts)
    return add_versions(outcome)


def add_versions(outcome: Outcome) -> Outcome:
    """Add the versions of the packages that lmms-eval runs with; return the outcome."""
    outcome.versions = read_package_versions(HARNESS_PACKAGES)
    return outcome


def find_refusal(run: RunInput) -> Outcome | None:
    """Return the outcome of a run that must not be started; None for one that may."""
    if sentence := find_problem(run.harness):
        return make_outcome(Reason.BAD_ARGUMENTS, sentence)
    if word := find_listing_word(run.harness):
        return make_outcome(Reason.TASK_NOT_FOUND, f"'{word}' is not a task but a request for a list; check spec.tasks")
    # A link in a volume may lead to where admission lets nobody load code from.
    folder = run.harness.include_path
    if folder and (sentence := find_include_path_problem(os.path.realpath(folder))):
        return make_outcome(
            Reason.BAD_ARGUMENTS, f"spec.includePath {folder} leads to {os.path.realpath(folder)}, which {sentence}"
        )
    return None


def explain_runner_error(error: Exception) -> Outcome:
    """Return the outcome for an exception of the runner itself."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return explain_full_volume(str(error), list_writable_mounts())
    return make_outcome(Reason.EVALUATION_ERROR, f"the runner failed: {type(error).__name__}: {error}"[:MAX_MESSAGE])


def _decide(artifacts: RunArtifacts, files: OutputFiles, marks: Marks) -> tuple[Outcome, AnswerCounts]:
    uncounted = AnswerCounts(swallowed_errors=artifacts.watch.swallowed)
    if artifacts.exit.stopped:
        return make_outcome(Reason.INTERRUPTED, "the pod was asked to end before the evaluation was over"), uncounted
    if files.results is None:
        return _judge_by_journal(artifacts, explain_failure(_collect_evidence(artifacts))), uncounted
    try:
        results = read_results(artifacts.directory / files.results)
    except InvalidResults as error:
        outcome = explain_failure(_collect_evidence(artifacts))
        if outcome.reason is not Reason.DISK_FULL:
            outcome = make_outcome(Reason.EVALUATION_ERROR, str(error))
        return outcome, uncounted
    answers = _count_answers(artifacts, files, results)
    return _judge_results(artifacts, marks, answers), answers.counts


def _judge_by_journal(artifacts: RunArtifacts, outcome: Outcome) -> Outcome:
    """Return the outcome of a run without results, as far as the batch that failed changes it."""
    attempt, directory = artifacts.run.attempt, artifacts.directory
    if outcome.reason is Reason.OUT_OF_MEMORY:
        record_failed_batches(directory, attempt, outcome.reason)
        if find_failed_batches(directory, attempt).can_go_on:
            return make_outcome(
                Reason.INTERRUPTED,
                f"{outcome.message}; another attempt goes on with the batch that failed, in a new process",
            )
        return make_outcome(outcome.reason, f"{outcome.message}{_suggest_batch_size(artifacts.run)}")
    if outcome.reason is not Reason.GPU_ERROR or "device-side assert" not in outcome.message:
        return outcome
    record_failed_batches(directory, attempt, outcome.reason)
    if find_failed_batches(directory, attempt).is_repeated:
        return make_outcome(
            Reason.EVALUATION_ERROR,
            f"the same batch failed in the attempt before, on another process: {outcome.message}",
        )
    return outcome


def _suggest_batch_size(run: RunInput) -> str:
    size = run.harness.batch_size
    return f"; or set spec.batchSize to {size // 2}" if isinstance(size, int) and size > 1 else ""


def _judge_results(artifacts: RunArtifacts, marks: Marks, answers: CountedAnswers) -> Outcome:
    model_args = artifacts.run.harness.model_args
    if not marks.exact_model_args and not is_parsed_exactly(model_args):
        return make_outcome(
            Reason.BAD_ARGUMENTS,
            "this image cannot hand over spec.modelArgs unchanged, because lmms-eval did not load the entry point"
            " lmms_eval_runner_progress; use simple values, or an image in which lmms-eval-runner is installed",
        )
    if answers.counts.has_only_failures:
        example = answers.example or artifacts.watch.example
        return explain_failed_answers(
            example, answers.counts.samples, endpoint=find_model_arg(model_args, _ENDPOINT_KEYS)
        )
    return make_outcome(Reason.SUCCEEDED, _describe_late_failure(artifacts))


def _describe_late_failure(artifacts: RunArtifacts) -> str:
    """Return what failed after the results were written, which changes nothing about them; empty where nothing did."""
    if cause := find_save_failure(tuple(artifacts.watch.lines)):
        return f"lmms-eval could not save all samples: {cause}"
    code = artifacts.exit.exit_code
    return f"lmms-eval ended with exit code {code} after it had written its results" if code else ""


def _count_answers(artifacts: RunArtifacts, files: OutputFiles, results: dict[str, Any]) -> CountedAnswers:
    watch = artifacts.watch
    if files.samples:
        return count_answers((artifacts.directory / path for path in files.samples.values()), swallowed=watch.swallowed)
    return count_without_samples(
        total=count_expected_answers(results), swallowed=watch.swallowed, gave_up=watch.gave_up
    )


def _collect_evidence(artifacts: RunArtifacts) -> Evidence:
    return Evidence(
        exit_code=artifacts.exit.exit_code,
        lines=tuple(artifacts.watch.lines),
        memory_kills=artifacts.memory_kills,
        full=artifacts.full,
        mount_points=artifacts.mount_points,
        gpus=artifacts.run.gpus,
        model=find_model_arg(artifacts.run.harness.model_args, MODEL_KEYS),
        endpoint=find_model_arg(artifacts.run.harness.model_args, _ENDPOINT_KEYS),
    )


def explain_failure(evidence: Evidence) -> Outcome:
    """Return why there are no results."""
    if evidence.memory_kills > 0:
        return make_outcome(
            Reason.OUT_OF_MEMORY,
            "the container ran out of memory and the kernel killed a process of it; raise spec.resources.memory",
        )
    outcome = _explain_by_log(evidence.lines) or _explain_by_exit(evidence)
    if outcome.reason is Reason.GPU_ERROR and evidence.gpus == 0:
        return make_outcome(Reason.BAD_ARGUMENTS, f"the evaluation wants a GPU, and spec.gpus is 0: {outcome.message}")
    if outcome.reason is Reason.DISK_FULL:
        return explain_full_volume(outcome.message, evidence.mount_points, evidence.full)
    return _add_culprit(outcome, model=evidence.model, endpoint=evidence.endpoint)


def explain_full_volume(text: str, mount_points: Sequence[str], full: FullVolumes = NONE_SEEN) -> Outcome:
    """Return which volume was full, and what to do: the one whose file `text` names, or else those seen to be full."""
    named = [find_volume(path, mount_points) for path in _PATH.findall(text)]
    volumes = [point for point in named if point not in ("", "/")][:1] or full.at_end or full.ever
    if not volumes:
        return make_outcome(Reason.DISK_FULL, f"a volume was full: {text}")
    if volumes[0] == SHARED_MEMORY:
        return make_outcome(
            Reason.OUT_OF_MEMORY, f"{SHARED_MEMORY} is too small, {suggest_remedy(SHARED_MEMORY)}: {text}"
        )
    remedy = suggest_remedy(volumes[0])
    return make_outcome(Reason.DISK_FULL, f"the volume at {' and '.join(volumes)} was full; {remedy}: {text}")


def explain_failed_answers(example: str, count: int, *, endpoint: str = "") -> Outcome:
    """Return why all `count` answers are failures, judged by one of them."""
    summary = f"not one of {count} answers is a real one"
    outcome = _apply_rules([(LoggedException("Error", example),)], RULES)
    if outcome is None:
        return make_outcome(Reason.ALL_ANSWERS_FAILED, f"{summary}: {_shorten(example)}" if example else summary)
    return _add_culprit(make_outcome(outcome.reason, f"{summary}; {outcome.message}"), endpoint=endpoint)


def _add_culprit(outcome: Outcome, *, model: str = "", endpoint: str = "") -> Outcome:
    culprit = {Reason.MODEL_UNAVAILABLE: model, Reason.UNREACHABLE: endpoint}.get(outcome.reason, "")
    return outcome if culprit in outcome.message else make_outcome(outcome.reason, f"{outcome.message} ({culprit})")


def _explain_by_log(lines: Sequence[str]) -> Outcome | None:
    chains = parse_exception_chains(_cut_after_first_end(lines))
    if not chains:
        return None
    last = chains[-1]
    candidates = list(reversed(chains)) if _SEE_ELSEWHERE.search(last[-1].text) else [last]
    found = _apply_rules(candidates, RULES) or _apply_rules([last], LAST_RULES)
    if found:
        return found
    return make_outcome(Reason.EVALUATION_ERROR, f"the evaluation raised {_shorten(find_culprit(last).text)}")


def _cut_after_first_end(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines before the first report of the end: after it come only other processes that go down."""
    for number, line in enumerate(lines):
        if ENDED_BY_EXCEPTION in line:
            return lines[:number]
    return lines


def _apply_rules(candidates: Iterable[ExceptionChain], rules: Iterable[FailureRule]) -> Outcome | None:
    pairs = ((rule, chain) for chain in candidates for rule in rules if rule.where(chain))
    return next((outcome for rule, chain in pairs if (outcome := _apply_rule(rule, chain))), None)


def _apply_rule(rule: FailureRule, chain: ExceptionChain) -> Outcome | None:
    for raised in reversed(chain):
        if found := rule.pattern.search(raised.text):
            words = {name: text or "" for name, text in found.groupdict().items()}
            text = _shorten(raised.message or raised.type)
            return make_outcome(rule.reason, rule.sentence.format(text=text, **words))
    return None


def _explain_by_exit(evidence: Evidence) -> Outcome:
    code, lines = evidence.exit_code, evidence.lines
    if code == 2 and (usage := _find_last(_USAGE_ERROR, lines)):
        return make_outcome(Reason.BAD_ARGUMENTS, f"lmms-eval refused an argument: {_shorten(usage['text'])}")
    number = _find_signal(evidence)
    # Memory that is mapped from a full volume cannot be written to: a bus error, and no exception.
    if evidence.full.at_end and number in (0, signal.SIGBUS) and not _find_last(_NOT_SAVED, lines):
        return make_outcome(Reason.DISK_FULL, f"lmms-eval ended with exit code {code} and without results")
    if number:
        return make_outcome(Reason.INTERRUPTED, f"lmms-eval was killed by {_name_signal(number)}")
    if cause := find_save_failure(lines):
        reason = Reason.DISK_FULL if _NO_SPACE.search(cause) else Reason.EVALUATION_ERROR
        return make_outcome(reason, f"lmms-eval could not save its results: {cause}")
    last_line = next((line for line in reversed(lines) if line.strip()), "nothing")
    return make_outcome(
        Reason.EVALUATION_ERROR,
        f"lmms-eval ended with exit code {code} and without results; the last it said: {_shorten(last_line)}",
    )


def _find_signal(evidence: Evidence) -> int:
    """Return the number of the signal that ended lmms-eval or one of its ranks; 0 where none did."""
    if evidence.exit_code < 0:
        return -evidence.exit_code
    if 128 < evidence.exit_code <= 128 + signal.NSIG:
        return evidence.exit_code - 128
    rank = _find_last(_SIGNAL_OF_A_RANK, evidence.lines)
    return int(rank["number"]) if rank else 0


def _name_signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def find_save_failure(lines: Sequence[str]) -> str:
    """Return why lmms-eval could not save results or samples, which it logs and does not raise; empty
    where it could.
    """
    number = next((number for number, line in enumerate(lines) if _NOT_SAVED.search(line)), None)
    if number is None:
        return ""
    return _shorten(" ".join(lines[number + 1 : number + 2]).rpartition(" - ")[2]) or "no reason given"


def _find_last(pattern: re.Pattern[str], lines: Sequence[str]) -> re.Match[str] | None:
    return next((found for line in reversed(lines) if (found := pattern.search(line))), None)


def _shorten(text: str) -> str:
    """Return the first lines as one, cut to what a status can show."""
    line = " ".join(part.strip() for part in text.splitlines()[:3] if part.strip())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def _compute_timings(marks: Marks, artifacts: RunArtifacts) -> Timings:
    return Timings(
        load_seconds=_subtract(marks.loading_at, marks.loaded_at),
        generation_seconds=_subtract(marks.answering_at, marks.scoring_at or artifacts.ended_at),
        total_seconds=_subtract(artifacts.started_at, artifacts.ended_at),
    )


def _subtract(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(max(0.0, end - start), 3)
