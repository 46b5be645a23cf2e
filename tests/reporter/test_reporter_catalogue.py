"""The catalogue's second container, as its own process: what it refuses, and what arrives in a real S3 server."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from s3_fixtures import S3Server

from lmms_eval_core.catalogue import CATALOGUE_FILE, MAX_CATALOGUE_BYTES, Catalogue
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings

CATALOGUE = {
    "versions": {"torch": "2"},
    "tasks": [{"name": "mme", "kind": "task", "later": 1}],
    "models": [{"name": "vllm"}],
}
KEY = "team/.lmms-eval-catalogue-0123abcd.json"
NOWHERE = {"LMMS_EVAL_STORE_URL": "s3://artifacts", "LMMS_EVAL_STORE_ENDPOINT": "http://127.0.0.1:9"}


def bring(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {
        "LMMS_EVAL_RUN_DIRECTORY": str(directory),
        "LMMS_EVAL_NAMESPACE": "team",
        "LMMS_EVAL_CATALOGUE": "0123abcd",
    }
    command = [sys.executable, "-m", "lmms_eval_reporter.catalogue"]
    variables = {"PATH": os.environ["PATH"], **variables, **environment}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def last_line(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(done.stderr.splitlines()[-1])
    return found


def no_file(directory: Path) -> None: ...


def a_link(directory: Path) -> None:
    (directory / CATALOGUE_FILE).symlink_to("/etc/passwd")


def too_large(directory: Path) -> None:
    with (directory / CATALOGUE_FILE).open("wb") as file:
        file.truncate(MAX_CATALOGUE_BYTES + 1)


def no_json(directory: Path) -> None:
    (directory / CATALOGUE_FILE).write_text("root:x:0:0")


def no_names(directory: Path) -> None:
    (directory / CATALOGUE_FILE).write_text(json.dumps({"tasks": [{"name": "", "kind": "song"}], "models": []}))


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (no_file, "'catalogue.json' cannot be opened: No such file or directory"),
        (a_link, "'catalogue.json' cannot be opened: Too many levels of symbolic links"),
        (too_large, f"'catalogue.json' is larger than {MAX_CATALOGUE_BYTES} bytes"),
        (no_json, "catalogue.json is not a catalogue: 1 errors in it"),
        (no_names, "catalogue.json is not a catalogue: 2 errors in it"),
    ],
)
def test_what_is_no_catalogue_stays_where_it_is(tmp_path: Path, prepare: Callable[[Path], None], sentence: str) -> None:
    prepare(tmp_path)
    done = bring(tmp_path, **NOWHERE)
    assert (done.returncode, last_line(done)["error"]) == (2, sentence)


@pytest.mark.parametrize("missing", ["LMMS_EVAL_STORE_URL", "LMMS_EVAL_NAMESPACE", "LMMS_EVAL_CATALOGUE"])
def test_a_variable_that_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    code = f"import os; del os.environ[{missing!r}]; from lmms_eval_reporter.catalogue import main; main()"
    named = {"LMMS_EVAL_NAMESPACE": "team", "LMMS_EVAL_CATALOGUE": "0123abcd", **NOWHERE}
    done = subprocess.run([sys.executable, "-c", code], env=named, capture_output=True, text=True, check=False)
    assert (done.returncode, last_line(done)["error"]) == (2, f"{missing} is not set")


@pytest.mark.integration
async def test_it_arrives_in_the_store_and_is_replaced_by_the_next_one(tmp_path: Path, s3_server: S3Server) -> None:
    store = ObjectStore(StoreSettings.from_environment(s3_server.environment()))
    for version in ("2", "3"):
        (tmp_path / CATALOGUE_FILE).write_text(json.dumps(CATALOGUE | {"versions": {"torch": version}}))
        done = bring(tmp_path, **s3_server.environment())
        assert (done.returncode, last_line(done)["event"]) == (0, "stored")
        stored = Catalogue.model_validate_json(await store.get(KEY, max_bytes=MAX_CATALOGUE_BYTES))
        assert (stored.versions, stored.tasks[0].name, stored.models[0].name) == ({"torch": version}, "mme", "vllm")
    assert [entry.key async for entry in store.list("team")] == [KEY]


@pytest.mark.integration
def test_a_store_that_is_not_up_yet_is_waited_for(tmp_path: Path, s3_server: S3Server) -> None:
    (tmp_path / CATALOGUE_FILE).write_text(json.dumps(CATALOGUE))
    s3_server.stop()
    returns = threading.Timer(3, s3_server.start)
    returns.start()
    started = time.monotonic()
    done = bring(tmp_path, **s3_server.environment())
    returns.join()
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started > 2
    assert s3_server.secret_key not in done.stderr
