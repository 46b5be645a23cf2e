"""Fixture `s3_server`: a real S3 server (versitygw) on loopback that a test can stop, pause and start again."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import find_free_port
from provided import find_program

BUCKET = "artifacts"


class S3Server:
    """One S3 server over a folder, with one bucket; it starts again at the same address."""

    access_key = "tester"
    secret_key = "tester-secret"

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._port = find_free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"s3://{BUCKET}"
        self.endpoint = f"http://127.0.0.1:{self._port}"
        (folder / BUCKET).mkdir(parents=True)

    def start(self) -> None:
        """Start the process, and wait until it accepts connections."""
        keys = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        command = [self._program, "--quiet", "--port", f"127.0.0.1:{self._port}", "posix", str(self._folder)]
        self._process = subprocess.Popen(
            command, env=os.environ | keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while not _accepts(self._port):
            assert self._process.poll() is None, "the S3 gateway ended"
            assert time.monotonic() < deadline, "the S3 gateway does not listen"
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill the process, as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop the process from working: connections are accepted and never answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # The signal alone may come after its next answer.
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        """Let a paused server answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def environment(self) -> dict[str, str]:
        """Return the variables that point a program at this server."""
        return {
            "LMMS_EVAL_STORE_URL": self.url,
            "LMMS_EVAL_STORE_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def s3_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A running S3 server with an empty bucket, its credentials in the environment."""
    server = S3Server(find_program("versitygw"), tmp_path / "gateway")
    server.start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.stop()
