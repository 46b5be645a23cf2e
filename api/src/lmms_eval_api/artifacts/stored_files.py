"""Which files a job has, and their keys in the store. Pure.

Keys are made of namespace, name and uid; of the status, only the number of the attempt and the names of files are used.
"""

import re
from typing import Final, NamedTuple

from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_core import layout
from lmms_eval_core.kube.client import Object
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.wire import JobStatus

_SAMPLE_FILE: Final = re.compile(r"samples/([A-Za-z0-9._-]{1,255})\.jsonl\.zst")


class StoredFiles(NamedTuple):
    """The files that one attempt of a job has left, as its status lists them; if `truncated`, there may be more."""

    prefix: ArtifactPrefix
    files: frozenset[str]
    tasks: tuple[str, ...]
    truncated: bool

    @property
    def results_key(self) -> str:
        """Key of the results file."""
        return self.prefix.file(layout.RESULTS_FILE)

    @property
    def has_results(self) -> bool:
        """Whether there should be a results file."""
        return layout.RESULTS_FILE in self.files

    @property
    def has_task_files(self) -> bool:
        """Whether tasks wrote files of their own, as far as the list goes."""
        return any(name.startswith(layout.TASK_FILES) for name in self.files)


def find_stored_files(job: JobSnapshot, document: Object) -> StoredFiles | None:
    """Return what the job has left behind; None until its attempt has ended."""
    artifacts = document.get("status", {}).get("artifacts", {})
    attempt = find_stored_attempt(document)
    if attempt is None:
        return None
    names = [str(file.get("name", "")) for file in artifacts.get("files", [])]
    prefix = make_attempt_prefix(job, document, attempt)
    return StoredFiles(prefix, frozenset(names), list_sampled_tasks(names), bool(artifacts.get("truncated")))


def find_stored_attempt(document: Object) -> int | None:
    """Return the attempt of an evaluation whose files its status names; None until one has ended."""
    artifacts = document.get("status", {}).get("artifacts", {})
    return layout.parse_attempt(str(artifacts.get("uri", "")))


def list_shown_prefixes(job: JobSnapshot) -> list[ArtifactPrefix]:
    """Return where the attempts store their files of which samples or answers are shown; none before the first."""
    files = find_stored_files(job, job.document)
    attempt = job.document.get("status", {}).get("attempt") or 0
    found = [files.prefix] if files is not None else []
    newest = make_attempt_prefix(job, job.document, attempt)
    return found if newest in found or not attempt else [*found, newest]


def make_attempt_prefix(job: JobSnapshot, document: Object, attempt: int) -> ArtifactPrefix:
    """Return the prefix under which an attempt of the job stores its files."""
    return ArtifactPrefix(document["metadata"]["namespace"], job.name, job.uid, attempt)


def list_answered_tasks(job: JobSnapshot) -> tuple[str, ...]:
    """Return what was asked for by a job that ended without samples, if answers of it are stored.

    A name may be that of a group: only who reads the answers knows the tasks in it.
    """
    document = job.document
    status = document.get("status", {})
    progress = status.get("progress") or {}
    # Of earlier attempts, the operator notes those that kept answers.
    earlier = any(attempt.get("free") or attempt.get("resumed") for attempt in status.get("attempts", []))
    if not (progress.get("kept") or progress.get("resumed") or earlier):
        return ()
    has_ended = job.status in (JobStatus.FAILED, JobStatus.CANCELLED)
    return list_asked_tasks(job) if has_ended and document["spec"].get("logSamples") is not False else ()


def list_asked_tasks(job: JobSnapshot) -> tuple[str, ...]:
    """Return the tasks, groups and tags that a job asks for, called as the files of a task are."""
    names = (name.strip() for entry in job.tasks for name in entry.split(","))
    return tuple(dict.fromkeys(layout.segment(name) for name in names if name))


def list_sampled_tasks(names: list[str]) -> tuple[str, ...]:
    """Return the tasks among these names of files, in their order; a task is called as its file is."""
    return tuple(found[1] for name in names if (found := _SAMPLE_FILE.fullmatch(name)))
