"""Which jobs changed, and when: in order, each once with its newest change, so that it never grows with their number.

A reader keeps the number of the last change that it has seen. `jobs.cache` writes. Pure.
"""

from typing import Final

MAX_REMOVED: Final = 4096


class ChangeJournal:
    """Names of jobs by the number of their newest change.

    `forgotten` is the number up to which deletions may be missing, and `forgotten_version` the resource version.
    """

    def __init__(self) -> None:
        self.number = 0
        self.forgotten = 0
        self.forgotten_version = 0
        self._numbers: dict[str, int] = {}
        # The version of the deletion, or 0 for one that only a new list has shown.
        self._removed: dict[str, int] = {}

    def record_change(self, name: str) -> None:
        """Record that a job is new or has changed."""
        self._removed.pop(name, None)
        self._record(name)

    def record_removal(self, name: str, *, version: int = 0) -> None:
        """Record that a job is gone."""
        self._removed[name] = version
        self._record(name)
        if len(self._removed) > MAX_REMOVED:
            oldest = next(iter(self._removed))
            self.forgotten = self._numbers.pop(oldest)
            self.forgotten_version = max(self.forgotten_version, self._removed.pop(oldest))

    def list_since(self, number: int) -> list[str]:
        """Return the jobs that changed after this number, in the order of their newest changes."""
        found = []
        for name in reversed(self._numbers):
            if self._numbers[name] <= number:
                break
            found.append(name)
        return found[::-1]

    def list_removed_since_version(self, version: int) -> list[str]:
        """Return the jobs that were deleted after this resource version."""
        return [name for name, removed in self._removed.items() if removed > version]

    def _record(self, name: str) -> None:
        self.number += 1
        self._numbers.pop(name, None)
        self._numbers[name] = self.number
