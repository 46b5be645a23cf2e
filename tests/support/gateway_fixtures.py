"""A real S3 server for the tests of every part: versitygw on loopback, that can go away and come back."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from provided import program

BUCKET = "artifacts"


class Gateway:
    """One S3 server over a folder, with one bucket; it can go away and come back at the same address."""

    access_key = "tester"
    secret_key = "tester-secret"

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"s3://{BUCKET}"
        self.endpoint = f"http://127.0.0.1:{self._port}"
        (folder / BUCKET).mkdir(parents=True)

    def start(self) -> None:
        """Runs it, and waits until it accepts connections."""
        keys = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        command = [self._program, "--quiet", "--port", f"127.0.0.1:{self._port}", "posix", str(self._folder)]
        self._process = subprocess.Popen(
            command, env=os.environ | keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while not _accepts(self._port):
            assert self._process.poll() is None, "the S3 gateway ended"
            assert time.monotonic() < deadline, "the S3 gateway does not listen"
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it at once, as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Lets it hang: connections are accepted and never answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # The signal alone may come after its next answer.
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        """Ends `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def environment(self) -> dict[str, str]:
        """What points a program at it."""
        return {
            "LMMS_EVAL_STORE_URL": self.url,
            "LMMS_EVAL_STORE_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A running S3 gateway with an empty bucket, its credentials in the environment."""
    server = Gateway(program("versitygw"), tmp_path / "gateway")
    server.start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.stop()
