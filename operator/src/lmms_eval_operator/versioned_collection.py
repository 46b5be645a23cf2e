"""Objects by uid that never go back in time, whatever order their states arrive in: what the view is made of."""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from lmms_eval_operator.objects import parse_version


class Versioned(Protocol):
    """What a collection needs to know of its items."""

    @property
    def uid(self) -> str:
        """Identity."""

    @property
    def version(self) -> str:
        """resourceVersion: grows with every change of the collection."""


Item = TypeVar("Item", bound=Versioned)


class VersionedCollection(Generic[Item]):
    """Objects by uid that never go back in time.

    A state older than the known one is ignored, and so is one of an object that was removed since.
    """

    def __init__(self, wanted: Callable[[Item], bool] = lambda item: True) -> None:
        self._wanted = wanted
        self._items: dict[str, Item] = {}
        self._removed: dict[str, int] = {}
        self._listed_at = 0
        self.newest = 0
        """The latest version that was ever seen."""

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, uid: object) -> bool:
        return uid in self._items

    def get(self, uid: str) -> Item | None:
        """The object of this uid."""
        return self._items.get(uid)

    def put(self, item: Item) -> bool:
        """Take a state of an object, from wherever it comes; return whether that was news."""
        version = self._record_version(item.version)
        known = self._items.get(item.uid)
        if version <= (parse_version(known.version) if known else self._find_removed_at(item.uid)):
            return False
        if not self._wanted(item):
            return self.remove(item.uid, item.version)
        self._keep(item)
        return True

    def remove(self, uid: str, version: str) -> bool:
        """Remove an object that is gone, or not wanted any more, as of `version`; return whether that was news."""
        known, at = self._items.get(uid), self._record_version(version)
        if known is not None and parse_version(known.version) > at:
            return False
        self._removed[uid] = max(at, self._removed.get(uid, 0))
        return self._drop(uid) is not None

    def forget(self, uid: str) -> None:
        """Remove an object that was just found to be gone, without a version."""
        known = self._drop(uid)
        if known is not None:
            self._removed[uid] = parse_version(known.version)

    def replace(self, items: Iterable[Item], version: str, *, asked_at: int = 0) -> bool:
        """Take a whole list as of `version`. What is known and missing in it is gone, unless it is younger than the
        list.

        A list that is older than what was known when it was asked for (`newest`) comes of another history: the API
        server's storage was restored from a backup. Then it replaces whatever is known. Return whether it did.
        """
        restored = parse_version(version) < asked_at
        if restored:
            self._forget_history()
        self._record_version(version)
        listed = {item.uid: item for item in items}
        for uid in [
            known.uid
            for known in self
            if known.uid not in listed and parse_version(known.version) <= parse_version(version)
        ]:
            self._drop(uid)
        self._listed_at = max(self._listed_at, parse_version(version))
        self._removed = {uid: at for uid, at in self._removed.items() if at > self._listed_at}
        for item in listed.values():
            if item.uid in self._items or item.uid in self._removed:
                self.put(item)
            elif self._wanted(item):
                self._keep(item)
        return restored

    def _record_version(self, version: str) -> int:
        at = parse_version(version)
        self.newest = max(self.newest, at)
        return at

    def _forget_history(self) -> None:
        for uid in list(self._items):
            self._drop(uid)
        self._removed.clear()
        self._listed_at = self.newest = 0

    def _keep(self, item: Item) -> None:
        self._items[item.uid] = item

    def _drop(self, uid: str) -> Item | None:
        return self._items.pop(uid, None)

    def _find_removed_at(self, uid: str) -> int:
        # Not in the last list, hence gone by then.
        return max(self._listed_at, self._removed.get(uid, 0))
