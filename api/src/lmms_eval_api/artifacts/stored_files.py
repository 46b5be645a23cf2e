"""Which files a job has, and under which keys of the store. Pure.

Keys are made here, of namespace, name and uid: of the status, only the number of the attempt and the names of files are used.
"""

import re
from typing import Final, NamedTuple

from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_core import layout
from lmms_eval_core.kube.client import Object
from lmms_eval_core.layout import ArtifactPrefix

_ATTEMPT: Final = re.compile(r"/a(\d{1,9})/?$")
_SAMPLES: Final = re.compile(r"samples/([A-Za-z0-9._-]{1,255})\.jsonl\.zst")


class Stored(NamedTuple):
    """The files that one attempt of a job has left, as its status tells; of a long list there may be more than that."""

    prefix: ArtifactPrefix
    files: frozenset[str]
    tasks: tuple[str, ...]
    truncated: bool

    @property
    def results(self) -> str:
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


def stored(job: JobSnapshot, document: Object) -> Stored | None:
    """What the job has left behind; None as long as its attempt has not ended."""
    artifacts = document.get("status", {}).get("artifacts", {})
    found = _ATTEMPT.search(str(artifacts.get("uri", "")))
    if found is None:
        return None
    names = [str(file.get("name", "")) for file in artifacts.get("files", [])]
    prefix = attempt_prefix(job, document, int(found[1]))
    return Stored(prefix, frozenset(names), tasks_of(names), bool(artifacts.get("truncated")))


def attempt_prefix(job: JobSnapshot, document: Object, attempt: int) -> ArtifactPrefix:
    """Where an attempt of the job leaves its files."""
    return ArtifactPrefix(document["metadata"]["namespace"], job.name, job.uid, attempt)


def tasks_of(names: list[str]) -> tuple[str, ...]:
    """The tasks among these names of files, in their order; a task is called as its file is."""
    return tuple(found[1] for name in names if (found := _SAMPLES.fullmatch(name)))
