"""Which jobs GET /jobs shows, and where its next page begins. Pure; `cache` keeps the jobs sorted.

A cursor names the last job of a page, not a number of jobs: whatever is created or deleted meanwhile, nothing is shown
twice, and nothing that stays is left out.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from lmms_eval_api.jobs.snapshot import JobSnapshot, ListingKey
from lmms_eval_core.wire import JobStatus

CURSOR: Final = re.compile(r"1/(?P<second>-?[0-9]{1,12})/(?P<name>[a-z0-9.-]{1,253})")


class InvalidJobCursor(Exception):
    """The text is no cursor of GET /jobs."""


class InvalidLabel(Exception):
    """The text is neither `key` nor `key=value`."""


class LabelSelector(NamedTuple):
    """A label that a job must have, with this value or, for None, with any."""

    key: str
    value: str | None


class JobPage(NamedTuple):
    """Jobs in order, and the key of the last one if there is a next page."""

    jobs: list[JobSnapshot]
    last: ListingKey | None


@dataclass(frozen=True)
class JobFilter:
    """What a job must match; all of it."""

    statuses: frozenset[JobStatus] = frozenset()
    model: str | None = None
    task: str | None = None
    labels: tuple[LabelSelector, ...] = ()

    def __call__(self, job: JobSnapshot) -> bool:
        """Whether the job matches."""
        return (
            (not self.statuses or job.status in self.statuses)
            and (self.model is None or job.model == self.model)
            and (self.task is None or self.task in job.tasks)
            and all(_has_label(job, label) for label in self.labels)
        )


def _has_label(job: JobSnapshot, wanted: LabelSelector) -> bool:
    found = job.labels.get(wanted.key)
    return found is not None and wanted.value in (None, found)


def parse_label(text: str) -> LabelSelector:
    """Parse `key` or `key=value`. Raises InvalidLabel."""
    key, equals, value = text.partition("=")
    if not key:
        raise InvalidLabel(text)
    return LabelSelector(key, value if equals else None)


def encode_job_cursor(last: ListingKey) -> str:
    """Return the cursor with which a caller gets the jobs after this one."""
    return base64.urlsafe_b64encode(f"1/{-last.negated_second}/{last.name}".encode()).decode().rstrip("=")


def decode_job_cursor(cursor: str) -> ListingKey:
    """Return the key after which the page begins; that job need not exist any more. Raises InvalidJobCursor."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise InvalidJobCursor(cursor) from error
    found = CURSOR.fullmatch(text)
    if found is None:
        raise InvalidJobCursor(cursor)
    return ListingKey(-int(found["second"]), found["name"])
