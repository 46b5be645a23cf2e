"""Fixtures that run `lmmeval` as a process of its own, on a pipe or in a terminal."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from front_end_fixtures import TOKEN, FrontEnd
from provided import build_bare_environment

COMMAND: Final = (sys.executable, "-m", "lmms_eval_client.cli")
SECONDS: Final = 60
WINDOW: Final = struct.pack("HHHH", 40, 120, 0, 0)


@dataclass(frozen=True)
class CommandLine:
    """`lmmeval` with an environment of its own."""

    environment: dict[str, str]
    seconds: float = SECONDS
    command: tuple[str, ...] = COMMAND

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end on a pipe."""
        return subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=self.seconds,
        )

    def answer(self, *arguments: str) -> str:
        """Run the command, which must succeed; return what it prints."""
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command on a pipe."""
        return subprocess.Popen(
            [*self.command, *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def terminal(self, *arguments: str, **environment: str) -> "Terminal":
        """Start the command in a terminal of 120 columns; keywords are further environment variables."""
        return Terminal([*self.command, *arguments], self.environment | {"TERM": "xterm-256color"} | environment)


@dataclass
class Terminal:
    """A program in a terminal; `text` is all that it has sent there."""

    command: list[str]
    environment: dict[str, str]
    text: str = ""
    _files: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, WINDOW)
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self._files.append(master)

    def read(self, words: str) -> None:
        """Wait until the terminal has shown these words."""
        self._read_until(lambda: words in self.text)
        assert words in self.text, self.text

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        self._read_until(lambda: False)
        return self.process.wait(timeout=SECONDS)

    def close(self) -> None:
        """Kill the process and close the terminal."""
        self.process.kill()
        self.process.wait()
        while self._files:
            os.close(self._files.pop())

    def _read_until(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not enough() and time.monotonic() < deadline:
            readable, _, _ = select.select(self._files, [], [], 0.1)
            try:
                piece = os.read(self._files[0], 65536) if readable else b""
            except OSError:  # Linux says so when the other end is closed.
                return
            self.text += piece.decode(errors="replace")


@pytest.fixture
def command_line(front_end: FrontEnd) -> CommandLine:
    """`lmmeval` for a front end on a real API server."""
    return CommandLine({**build_bare_environment(), "LMMS_EVAL_URL": front_end.url, "LMMS_EVAL_TOKEN": TOKEN})


@pytest.fixture
def in_terminal(command_line: CommandLine) -> Iterator[Callable[..., Terminal]]:
    """Start `lmmeval` in terminals."""
    started: list[Terminal] = []

    def start(*arguments: str, **environment: str) -> Terminal:
        started.append(command_line.terminal(*arguments, **environment))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture
def without_server(tmp_path: Path) -> CommandLine:
    """`lmmeval` without a server."""
    return CommandLine({**build_bare_environment(), "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")})
