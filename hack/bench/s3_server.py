"""A real S3 server on loopback, over a folder, with one bucket."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import deployment
from deployment import ROOT, CommandFailed

from bench.measured_process import run_process

BUCKET: Final = "artifacts"
PORT: Final = 18996
START_SECONDS: Final = 20.0
_KEYS: Final = {"ACCESS": "bench", "SECRET": "a-secret-of-the-benchmark"}


@contextlib.contextmanager
def run_s3_server(folder: Path) -> Iterator[Mapping[str, str]]:
    """Runs for as long as the block lasts; meanwhile the environment, which the block gets too, leads to it."""
    (folder / BUCKET).mkdir(parents=True)
    program = deployment.cluster_answer("tool", "versitygw")
    command = [program, "--quiet", "--port", f"127.0.0.1:{PORT}", "posix", str(folder)]
    keys = {"ROOT_ACCESS_KEY": _KEYS["ACCESS"], "ROOT_SECRET_KEY": _KEYS["SECRET"]}
    with run_process(command, keys, log=ROOT / "build" / "bench" / "s3.log"):
        _wait_until_it_listens()
        environment = {
            "LMMS_EVAL_STORE_URL": f"s3://{BUCKET}",
            "LMMS_EVAL_STORE_ENDPOINT": f"http://127.0.0.1:{PORT}",
            "AWS_ACCESS_KEY_ID": _KEYS["ACCESS"],
            "AWS_SECRET_ACCESS_KEY": _KEYS["SECRET"],
        }
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            yield environment
        finally:
            os.environ.clear()
            os.environ.update(before)


def _wait_until_it_listens() -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", PORT)) == 0:
                return
        time.sleep(0.02)
    raise CommandFailed("the S3 server does not listen; see build/bench/s3.log")
