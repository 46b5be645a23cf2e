"""Names of the artifacts in the object store: one prefix per attempt, the same files in each.

Keys are relative to the store, whose URL may itself have a path. Each begins with a namespace, whose installation owns
what lies below it; several installations may share a store, but not a namespace's folder in it.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from lmms_eval_core.journal import JournalName, parse_journal_name

EVALUATION_FILE: Final = "evaluation.yaml"
RESULTS_FILE: Final = "results.json"
LOG_FILE: Final = "log.txt.zst"
OUTCOME_FILE: Final = "outcome.json"
# Folder of the files that tasks wrote themselves.
TASK_FILES: Final = "files/"
# Of a namespace's folder: who deletes there (one file for each installation), and what has lost its evaluation since
# when.
OWNER_FILES: Final = ".lmms-eval-owner-"
ORPHANS_FILE: Final = ".lmms-eval-orphans.json"
# And what its evaluator images know, one file for each image.
STORED_CATALOGUE: Final = re.compile(r"\.lmms-eval-catalogue-[0-9a-f]+\.json")
# Folder of an attempt's journal, in segments that are each whole (`lmms_eval_core.journal`).
JOURNAL_FILES: Final = "journal/"
# Names of an attempt's segments that are looked at; a journal of 1 GiB in each of 64 ranks has fewer.
MAX_SEGMENTS: Final = 20_000
# Of a namespace's folder: the pool of media, which its runs share.
MEDIA_POOL: Final = ".media/"
# The sorted digests, in binary, of the media that an attempt's samples show.
MEDIA_DIGESTS: Final = "media.idx"
# What the gate found, and the columns of the baseline by which it did.
GATE_FILE: Final = "gate.json"
GATE_COLUMNS: Final = "gate/"
# Written last: an attempt with this file is complete in the store, whatever the status says.
COMPLETE_FILE: Final = "complete.json"


EVALUATION_FOLDER: Final = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{8}")
FILE_OF_AN_ATTEMPT: Final = re.compile(r"a[0-9]+/.+")
_FILE_OF_THE_POOL: Final = re.compile(r"(?P<folder>[0-9a-f]{2})/(?P<digest>(?P=folder)[0-9a-f]{62})")
_ATTEMPT_AT_END: Final = re.compile(r"/a(\d{1,9})/?$")
_JOURNAL_SEGMENT: Final = re.compile(rf"{JOURNAL_FILES}(?P<name>[^/]+)-(?P<number>[0-9]{{4,6}})\.zst")


class ArtifactPrefix(NamedTuple):
    """Where one attempt's files are."""

    namespace: str
    name: str
    uid: str
    attempt: int

    @property
    def evaluation(self) -> str:
        """Prefix of all attempts of the evaluation, with the closing slash."""
        return f"{self.namespace}/{evaluation_folder(self.name, self.uid)}/"

    @property
    def path(self) -> str:
        """Prefix of this attempt, with the closing slash."""
        return f"{self.evaluation}a{self.attempt}/"

    def file(self, name: str) -> str:
        """Key of one file of this attempt."""
        return self.path + name


def parse_attempt(uri: str) -> int | None:
    """Return the number of the attempt whose prefix a URI ends in, as in `status.artifacts`."""
    found = _ATTEMPT_AT_END.search(uri)
    return int(found[1]) if found else None


def evaluation_folder(name: str, uid: str) -> str:
    """The folder of all attempts of an evaluation, in its namespace's."""
    return f"{name}-{uid[:8]}"


def owner_file(installation: str) -> str:
    """The file by which an installation says that it deletes in its namespace's folder."""
    return OWNER_FILES + installation


def catalogue_file(image: str) -> str:
    """The file of what an evaluator image knows; `image` is a hash of its name."""
    return f".lmms-eval-catalogue-{image}.json"


def sample_file(task: str) -> str:
    """Name of a task's samples; `task` is one sanitised path segment."""
    return f"samples/{segment(task)}.jsonl.zst"


def index_file(samples: str) -> str:
    """Name of the index of the samples in the file `samples`, which `sample_file` named."""
    return f"index/{samples.removeprefix('samples/').removesuffix('.jsonl.zst')}.idx"


def gate_columns_file(samples: str) -> str:
    """Name of the baseline's columns of the samples in the file `samples`, which `sample_file` named."""
    return f"{GATE_COLUMNS}{samples.removeprefix('samples/').removesuffix('.jsonl.zst')}.idx"


def task_file(path: str) -> str:
    """Name of a file that a task wrote to `path`, relative to the run directory."""
    return f"{TASK_FILES}{'/'.join(map(segment, path.split('/')))}.zst"


def media_object(namespace: str, digest: str) -> str:
    """Key of the file of the pool whose content has this SHA-256, in hexadecimal digits."""
    return f"{namespace}/{MEDIA_POOL}{digest[:2]}/{digest}"


def parse_media_object(namespace: str, key: str) -> str | None:
    """Return the digest that `media_object` made `key` of; None for any other key."""
    found = _FILE_OF_THE_POOL.fullmatch(key.removeprefix(f"{namespace}/{MEDIA_POOL}"))
    return found["digest"] if found and key == media_object(namespace, found["digest"]) else None


def journal_segment(name: str, number: int) -> str:
    """Name of the segment `number`, from 0, of the journal file `name`."""
    return f"{JOURNAL_FILES}{name}-{number:04d}.zst"


def parse_journal_segment(file: str) -> tuple[str, int] | None:
    """Return name and number that `journal_segment` made `file` of; None for a file that is no segment."""
    found = _JOURNAL_SEGMENT.fullmatch(file)
    return (found["name"], int(found["number"])) if found else None


def group_journal_segments(files: Iterable[str], attempt: int) -> dict[JournalName, set[int]]:
    """Return the numbers of the segments of each journal of an attempt, among names of its files."""
    found: dict[JournalName, set[int]] = {}
    for file in files:
        text, number = parse_journal_segment(file) or ("", 0)
        name = parse_journal_name(text)
        if name is not None and name.attempt == attempt and str(name) == text:
            found.setdefault(name, set()).add(number)
    return found


def segment(text: str) -> str:
    """`text` as one path segment: letters, digits, dot, dash, underscore; never empty, never a dot alone."""
    cleaned = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in text)[:200]
    return cleaned if cleaned.strip(".") else "_"
