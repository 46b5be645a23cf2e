"""Which variables of its environment a program asks for."""

from collections.abc import Mapping
from typing import Any


class Recorded(dict[str, str]):
    """An environment that remembers which variables were asked for."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return super().__getitem__(key)
