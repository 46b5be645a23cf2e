"""Which jobs GET /jobs shows, and where its next page begins. Pure; `cache` keeps the jobs in order.

A cursor names the last job of a page, not a count of jobs: whatever is created or deleted meanwhile, nothing is shown twice
and nothing that stays is left out.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from lmms_eval_api.jobs.snapshot import Age, Job
from lmms_eval_core.wire import JobStatus

CURSOR: Final = re.compile(r"1/(?P<second>-?[0-9]{1,12})/(?P<name>[a-z0-9.-]{1,253})")


class BadCursor(Exception):
    """The text is no cursor of ours."""


class BadLabel(Exception):
    """The text is neither `key` nor `key=value`."""


class Label(NamedTuple):
    """A label that a job must have; with a value, or with any."""

    key: str
    value: str | None


class Page(NamedTuple):
    """Some jobs in order, and after which one the next page begins; None when there is no next page."""

    jobs: list[Job]
    last: Age | None


@dataclass(frozen=True)
class Filter:
    """All of it must be true of a job."""

    statuses: frozenset[JobStatus] = frozenset()
    model: str | None = None
    task: str | None = None
    labels: tuple[Label, ...] = ()

    def __call__(self, job: Job) -> bool:
        """Whether the job is wanted."""
        return (
            (not self.statuses or job.status in self.statuses)
            and (self.model is None or job.model == self.model)
            and (self.task is None or self.task in job.tasks)
            and all(_has(job, label) for label in self.labels)
        )


def _has(job: Job, wanted: Label) -> bool:
    found = job.labels.get(wanted.key)
    return found is not None and wanted.value in (None, found)


def label_of(text: str) -> Label:
    """`key` or `key=value`; BadLabel."""
    key, equals, value = text.partition("=")
    if not key:
        raise BadLabel(text)
    return Label(key, value if equals else None)


def cursor_of(last: Age) -> str:
    """The text that a caller sends to get what comes after this job."""
    return base64.urlsafe_b64encode(f"1/{-last.negated_second}/{last.name}".encode()).decode().rstrip("=")


def after(cursor: str) -> Age:
    """The job after which the page begins; it need not exist any more. BadCursor."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise BadCursor(cursor) from error
    found = CURSOR.fullmatch(text)
    if found is None:
        raise BadCursor(cursor)
    return Age(-int(found["second"]), found["name"])
