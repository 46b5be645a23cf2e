"""From a finished run to the status fields that the reporter owns, within their share of the status. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from lmms_eval_core.phases import Reason
from lmms_eval_core.results_file import build_score_table, summarise
from lmms_eval_core.run import AnswerCounts, Outcome, ProgressReport, RunInput, Stage, Timings
from lmms_eval_core.status import (
    MAX_ERROR_BYTES,
    ArtifactFile,
    Artifacts,
    EvaluationStatus,
    OmittedScores,
    ProgressStatus,
    RunError,
    Scores,
    SuspectAnswers,
    Usage,
)
from lmms_eval_reporter import texts
from lmms_eval_reporter.run_files import FinishedRun
from lmms_eval_reporter.status_progress import (
    MAX_COUNT,
    NOTHING_STORED,
    StoredAnswers,
    build_progress,
    build_stage_progress,
    count_or_none,
    number_or_none,
)

Fields = dict[str, Any]

# Shares of the 64 KiB of a status: about 10 KiB stay for the operator's fields.
SCORES_BYTES: Final = 26 * 1024
OMITTED_BYTES: Final = 2 * 1024
ARTIFACTS_BYTES: Final = 8 * 1024
MESSAGE_BYTES: Final = 2 * 1024
SUMMARY_BYTES: Final = 512
NAME_BYTES: Final = 200
SHORT_BYTES: Final = 160
MAX_VERSIONS: Final = 16
MAX_FILES: Final = 300
MAX_OMITTED: Final = 64


def to_wire_fields(status: EvaluationStatus) -> Fields:
    """Return the fields that were set, as the API server stores them."""
    return status.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def build_results_fields(
    run: RunInput, finished: FinishedRun, stored: Artifacts, *, timings: Timings
) -> EvaluationStatus:
    """Return what a run produced: everything but its error, its progress and the attempt it is reported for.

    `timings` are of all attempts together.
    """
    outcome, results = finished
    fields: Fields = {"artifacts": stored, "usage": build_usage(run, outcome, timings, results or {})}
    if results is not None:
        fields |= _build_scores(results, run.harness.tasks)
    if any(outcome.answers.model_dump().values()):
        fields["suspect"] = build_suspect(outcome.answers)
    if stored.truncated:
        fields["truncated"] = True
    return EvaluationStatus(**fields)


def build_run_error(outcome: Outcome, log: str) -> RunError | None:
    """Return what went wrong, with the end of the log; None for a success."""
    if outcome.reason == Reason.SUCCEEDED:
        return None
    message = texts.clean_head(outcome.message or "the runner gave no message", MESSAGE_BYTES)
    return RunError(class_=outcome.reason.value, message=message, log_tail=texts.clean_tail(log, MAX_ERROR_BYTES))


def build_reached_progress(
    last: ProgressReport | None, *, stored: StoredAnswers = NOTHING_STORED, now: datetime
) -> ProgressStatus:
    """Return how far the run had come when it ended; its results are being published."""
    progress = (
        build_progress(last, stored=stored, now=now)
        if last
        else build_stage_progress(Stage.STARTING, Stage.STARTING.value, now=now)
    )
    return progress.model_copy(update={"stage": Stage.PUBLISHING.value, "eta_seconds": None, "kept": stored.kept})


def build_waiting_progress(
    stage: Stage, last: ProgressReport | None, *, stored: StoredAnswers = NOTHING_STORED, now: datetime
) -> ProgressStatus:
    """Return the progress while the store is away: what was reached stays, as the store has it."""
    reached = build_reached_progress(last, stored=stored, now=now)
    return reached.model_copy(update={"stage": stage.value, "text": "waiting for object store"})


def build_final_progress(
    last: ProgressReport | None, *, stored: StoredAnswers = NOTHING_STORED, succeeded: bool, now: datetime
) -> ProgressStatus:
    """Return the progress that stays: all of it after a success, else how far the run had come."""
    progress = build_reached_progress(last, stored=stored, now=now)
    if not succeeded:
        return progress
    text = progress.text if progress.percent is not None else "100%"
    # The journal of a success is deleted.
    return progress.model_copy(update={"percent": 100, "text": text, "kept": None, "not_kept": None})


def build_artifacts(uri: str, files: Iterable[ArtifactFile], *, truncated: bool) -> Artifacts:
    """Return the list of files, cut to its share."""
    kept: list[ArtifactFile] = []
    room = ARTIFACTS_BYTES - texts.measure_wire_size(uri)
    for file in files:
        room -= texts.measure_wire_size(file.to_wire()) + 1
        if room < 0 or len(kept) == MAX_FILES:
            truncated = True
            break
        kept.append(file)
    return Artifacts(uri=uri, files=kept, truncated=truncated or None)


def build_usage(run: RunInput, outcome: Outcome, timings: Timings, results: Fields) -> Usage:
    """Return seconds, samples, tokens and versions; what is unknown or absurd is left out."""
    total = number_or_none(timings.total_seconds)
    read, written = _find_tokens(results)
    return Usage(
        load_seconds=number_or_none(timings.load_seconds),
        generation_seconds=number_or_none(timings.generation_seconds),
        total_seconds=total,
        gpu_seconds=None if total is None else number_or_none(total * run.gpus),
        samples=count_or_none(outcome.answers.samples) or None,
        input_tokens=read,
        output_tokens=written,
        versions=_clean_versions(outcome.versions) or None,
        image=texts.clean_head(run.image, 2 * SHORT_BYTES) or None,
    )


def build_suspect(answers: AnswerCounts) -> SuspectAnswers:
    """Return the runner's counts of answers that are failures in disguise."""
    return SuspectAnswers(**{name: count_or_none(value) or 0 for name, value in answers.model_dump().items()})


def _build_scores(results: Fields, asked: Sequence[str]) -> Fields:
    room = SCORES_BYTES
    while True:
        table = build_score_table(results, max_bytes=room, asked=asked)
        scores = _clean_names(table.scores)
        if texts.measure_wire_size(to_wire_fields(EvaluationStatus(scores=scores))) <= SCORES_BYTES:
            break
        # Names full of characters that JSON writes long: ask for less.
        room //= 2
    fields: Fields = {"scores": scores, "summary": texts.clean_head(summarise(results, table.scores), SUMMARY_BYTES)}
    return fields | {"omitted_scores": _build_omitted(table.omitted), "truncated": True} if table.omitted else fields


def _build_omitted(tasks: Sequence[str]) -> OmittedScores:
    names: list[str] = []
    room = OMITTED_BYTES
    for task in tasks[:MAX_OMITTED]:
        name = texts.clean_head(task, NAME_BYTES)
        room -= texts.measure_wire_size(name) + 1
        if room < 0:
            break
        names.append(name)
    return OmittedScores(count=len(tasks), names=names)


def _clean_names(scores: Scores) -> Scores:
    return {
        texts.clean_head(task, NAME_BYTES): {
            texts.clean_head(name, NAME_BYTES): metric for name, metric in metrics.items()
        }
        for task, metrics in scores.items()
    }


def _clean_versions(versions: dict[str, str]) -> dict[str, str]:
    kept = sorted(versions.items())[:MAX_VERSIONS]
    return {texts.clean_head(name, SHORT_BYTES): texts.clean_head(version, SHORT_BYTES) for name, version in kept}


def _find_tokens(results: Fields) -> tuple[int | None, int | None]:
    """Return tokens read and written, from the first of lmms-eval's own counts that has them."""
    total, overall = _find_mapping(results, "usage", "total"), _find_mapping(results, "efficiency", "overall")
    written = [
        total.get("output_tokens"),
        overall.get("total_output_tokens"),
        _find_mapping(results, "throughput").get("total_gen_tokens"),
    ]
    output_tokens = next((found for value in written if (found := _to_int(value)) is not None), None)
    return _to_int(total.get("input_tokens")), output_tokens


def _find_mapping(value: Any, *path: str) -> Fields:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _to_int(value: Any) -> int | None:
    """Return a count as an integer, as lmms-eval writes some as 16.0; None for what is no count."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_COUNT:
        return None
    return int(value)
