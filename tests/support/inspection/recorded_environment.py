"""An environment that records which variables a program reads."""

from collections.abc import Mapping
from typing import Any


class RecordedEnvironment(dict[str, str]):
    """Variables by name; `asked` has the names that were read."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return super().__getitem__(key)
