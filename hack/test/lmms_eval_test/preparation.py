"""What a tier is made of: a preparation, and stages of parts."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .paths import BUILD, CHECKOUT
from .processes import Processes


class Missing(Exception):
    """What this machine lacks for a tier, as a sentence."""


class PytestRun(NamedTuple):
    """One run of pytest. Its log and its JUnit report are files of its name."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]

    @property
    def log(self) -> Path:
        """Give the file with its output."""
        return BUILD / f"{self.name}.log"

    @property
    def report(self) -> Path:
        """Give the JUnit report that it writes."""
        return BUILD / f"{self.name}.xml"

    def second_try(self) -> "PytestRun":
        """Make the run that plays the failed tests of this one once more."""
        again = self._replace(name=f"{self.name}-again")
        command = [argument.replace(str(self.report), str(again.report)) for argument in self.command]
        return again._replace(command=[*command, "--last-failed", "--last-failed-no-failures=none"])


# The parts of a stage run at once, the stages one after the other.
Stages = Sequence[Sequence[PytestRun]]


class TierPreparation:
    """Prepares one tier, and makes its parts."""

    def __init__(self, tier: str, processes: Processes, arguments: Sequence[str] = ()) -> None:
        """`arguments` are pytest's, from the command line."""
        self.arguments = list(arguments)
        self.log = BUILD / f"{tier}-preparation.log"
        self.log.unlink(missing_ok=True)
        self._processes = processes

    def run(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Run a command of the preparation.

        Raises Missing when it fails.
        """
        if self._processes.run(command, log=self.log, environment=environment):
            raise Missing(f"`{' '.join(command[1:])}` failed; its own message is above, and in {self.log}")

    def answer(self, *command: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """Give the lines that a command prints.

        Raises Missing when it fails.
        """
        with self.log.open("ab") as log:
            done = subprocess.run(
                command,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                check=False,
            )
        if done.returncode:
            raise Missing(f"`{' '.join(command[1:])}` failed; its own message is above, and in {self.log}")
        return done.stdout.strip().splitlines()

    def pytest(
        self, name: str, *arguments: str, under: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> PytestRun:
        """Make a part that runs pytest, `under` another module if one is named."""
        # Of its own, as it remembers which tests failed.
        cache = f"cache_dir={BUILD / name}.cache"
        report = f"--junit-xml={BUILD / name}.xml"
        # Of its own, as one pytest would clear away what others still use; and short, as tests make sockets in it.
        scratch = f"--basetemp={tempfile.gettempdir()}/{CHECKOUT}-{name}"
        # The command line's arguments come first: of two options -m the last one holds, and a tier stays a tier.
        options = ["-q", "-o", cache, report, scratch]
        command = [sys.executable, "-u", *under, "-m", "pytest", *options, *self.arguments, *arguments]
        return PytestRun(name, command, environment or {})


class Tier(NamedTuple):
    """Tests that need the same things.

    `cores` is how many processors its parts keep busy on average: tiers run beside each other as far as the machine has
    processors for them. `verify` is called when all parts have ended, and raises Failed. `second_tries` is how many
    failed tests may be played once more at the end: what plays on real clusters also fails for reasons of the machine.
    """

    name: str
    what: str
    cores: float
    prepare: Callable[[TierPreparation], Stages]
    verify: Callable[[TierPreparation], None] = lambda preparation: None
    second_tries: int = 0


class Failed(Exception):
    """What is wrong with a tier whose tests passed, as a sentence."""
