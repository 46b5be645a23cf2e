"""From the ending of a run to the status fields that the reporter owns, within their share of the status. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from lmms_eval_core.phases import Reason
from lmms_eval_core.results import score_table, summary
from lmms_eval_core.run import AnswerCounts, Outcome, ProgressReport, RunInput, Stage
from lmms_eval_core.status import (
    MAX_ERROR_BYTES,
    ArtifactFile,
    Artifacts,
    EvaluationStatus,
    OmittedScores,
    Progress,
    RunError,
    Scores,
    Suspect,
    Usage,
)
from lmms_eval_reporter import progress as counts
from lmms_eval_reporter import texts
from lmms_eval_reporter.inbox import Ending

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


def wire(status: EvaluationStatus) -> Fields:
    """The fields that were set, as the API server stores them."""
    return status.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def results_fields(run: RunInput, ending: Ending, stored: Artifacts) -> EvaluationStatus:
    """What a run produced: everything but its error, its progress and the attempt it is reported for."""
    outcome, results = ending
    fields: Fields = {"artifacts": stored, "usage": usage(run, outcome, results or {})}
    if results is not None:
        fields |= _scores(results, run.harness.tasks)
    if any(outcome.answers.model_dump().values()):
        fields["suspect"] = suspect(outcome.answers)
    if stored.truncated:
        fields["truncated"] = True
    return EvaluationStatus(**fields)


def run_error(outcome: Outcome, log: str) -> RunError | None:
    """What went wrong, with the end of the log; None for a success."""
    if outcome.reason == Reason.SUCCEEDED:
        return None
    message = texts.head(outcome.message or "the runner gave no message", MESSAGE_BYTES)
    return RunError(class_=outcome.reason.value, message=message, log_tail=texts.tail(log, MAX_ERROR_BYTES))


def reached(last: ProgressReport | None, *, now: datetime) -> Progress:
    """How far the run had come when it ended; its results are being published."""
    progress = counts.progress(last, now=now) if last else counts.said(Stage.STARTING, Stage.STARTING.value, now=now)
    return progress.model_copy(update={"stage": Stage.PUBLISHING.value, "eta_seconds": None})


def final_progress(last: ProgressReport | None, *, succeeded: bool, now: datetime) -> Progress:
    """The progress that stays: all of it after a success, else where the run had got to."""
    progress = reached(last, now=now)
    if not succeeded:
        return progress
    text = progress.text if progress.percent is not None else "100%"
    return progress.model_copy(update={"percent": 100, "text": text})


def artifacts(uri: str, files: Iterable[ArtifactFile], *, truncated: bool) -> Artifacts:
    """The list of files, cut to its share."""
    kept: list[ArtifactFile] = []
    room = ARTIFACTS_BYTES - texts.wire_size(uri)
    for file in files:
        room -= texts.wire_size(file.to_wire()) + 1
        if room < 0 or len(kept) == MAX_FILES:
            truncated = True
            break
        kept.append(file)
    return Artifacts(uri=uri, files=kept, truncated=truncated or None)


def usage(run: RunInput, outcome: Outcome, results: Fields) -> Usage:
    """Seconds, samples, tokens and versions; what is unknown or absurd is left out."""
    total = counts.finite(outcome.timings.total_seconds)
    read, written = _tokens(results)
    return Usage(
        load_seconds=counts.finite(outcome.timings.load_seconds),
        generation_seconds=counts.finite(outcome.timings.generation_seconds),
        total_seconds=total,
        gpu_seconds=None if total is None else counts.finite(total * run.gpus),
        samples=counts.count(outcome.answers.samples) or None,
        input_tokens=read,
        output_tokens=written,
        versions=_versions(outcome.versions) or None,
        image=texts.head(run.image, 2 * SHORT_BYTES) or None,
    )


def suspect(answers: AnswerCounts) -> Suspect:
    """The runner's counts of answers that are failures in disguise."""
    return Suspect(**{name: counts.count(value) or 0 for name, value in answers.model_dump().items()})


def _scores(results: Fields, asked: Sequence[str]) -> Fields:
    room = SCORES_BYTES
    while True:
        table = score_table(results, max_bytes=room, asked=asked)
        scores = _clean_names(table.scores)
        if texts.wire_size(wire(EvaluationStatus(scores=scores))) <= SCORES_BYTES:
            break
        # Names full of characters that JSON writes long: ask for less.
        room //= 2
    fields: Fields = {"scores": scores, "summary": texts.head(summary(results, table.scores), SUMMARY_BYTES)}
    return fields | {"omitted_scores": _omitted(table.omitted), "truncated": True} if table.omitted else fields


def _omitted(tasks: Sequence[str]) -> OmittedScores:
    names: list[str] = []
    room = OMITTED_BYTES
    for task in tasks[:MAX_OMITTED]:
        name = texts.head(task, NAME_BYTES)
        room -= texts.wire_size(name) + 1
        if room < 0:
            break
        names.append(name)
    return OmittedScores(count=len(tasks), names=names)


def _clean_names(scores: Scores) -> Scores:
    return {
        texts.head(task, NAME_BYTES): {texts.head(name, NAME_BYTES): metric for name, metric in metrics.items()}
        for task, metrics in scores.items()
    }


def _versions(versions: dict[str, str]) -> dict[str, str]:
    kept = sorted(versions.items())[:MAX_VERSIONS]
    return {texts.head(name, SHORT_BYTES): texts.head(version, SHORT_BYTES) for name, version in kept}


def _tokens(results: Fields) -> tuple[int | None, int | None]:
    """Tokens read and written, from the first of lmms-eval's own counts that has them."""
    total, overall = _inside(results, "usage", "total"), _inside(results, "efficiency", "overall")
    written = [
        total.get("output_tokens"),
        overall.get("total_output_tokens"),
        _inside(results, "throughput").get("total_gen_tokens"),
    ]
    return _whole(total.get("input_tokens")), next((found for value in written if (found := _whole(value)) is not None), None)


def _inside(value: Any, *path: str) -> Fields:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _whole(value: Any) -> int | None:
    """lmms-eval writes some counts as 16.0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= counts.MAX_COUNT:
        return None
    return int(value)
