"""Names of the artifacts in the object store: one prefix per attempt, the same files in each.

Keys are relative to the store, whose URL may itself have a path that several installations do not share.
"""

from typing import Final, NamedTuple

EVALUATION_FILE: Final = "evaluation.yaml"
RESULTS_FILE: Final = "results.json"
LOG_FILE: Final = "log.txt.zst"
OUTCOME_FILE: Final = "outcome.json"
OWNER_FILE: Final = ".lmms-eval-owner"
# Written last: an attempt with this file is complete in the store, whatever the status says.
COMPLETE_FILE: Final = "complete.json"


class ArtifactPrefix(NamedTuple):
    """Where one attempt's files are."""

    namespace: str
    name: str
    uid: str
    attempt: int

    @property
    def evaluation(self) -> str:
        """Prefix of all attempts of the evaluation, with the closing slash."""
        return f"{self.namespace}/{self.name}-{self.uid[:8]}/"

    @property
    def path(self) -> str:
        """Prefix of this attempt, with the closing slash."""
        return f"{self.evaluation}a{self.attempt}/"

    def file(self, name: str) -> str:
        """Key of one file of this attempt."""
        return self.path + name


def sample_file(task: str) -> str:
    """Name of a task's samples; `task` is one sanitised path segment."""
    return f"samples/{segment(task)}.jsonl.zst"


def segment(text: str) -> str:
    """`text` as one path segment: letters, digits, dot, dash, underscore; never empty, never a dot alone."""
    cleaned = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in text)[:200]
    return cleaned if cleaned.strip(".") else "_"
