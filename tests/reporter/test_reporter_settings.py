import json
from pathlib import Path

import pytest

from lmms_eval_core.run import RUN_DIRECTORY
from lmms_eval_reporter import probe
from lmms_eval_reporter.settings import InvalidSettings, Settings

RUN = {"namespace": "ns", "name": "a", "uid": "u", "attempt": 2, "harness": {"model": "m", "tasks": ["t"]}}
GOOD = {"LMMS_EVAL_RUN": json.dumps(RUN), "LMMS_EVAL_STORE_URL": "s3://artifacts/team/"}


def test_two_variables_are_enough() -> None:
    settings = Settings.from_environment(GOOD)
    assert (settings.run.name, settings.run.attempt, settings.store.url) == ("a", 2, "s3://artifacts/team")
    assert (settings.directory, settings.token_file, settings.grace_seconds) == (RUN_DIRECTORY, None, 45.0)


def test_everything_else_can_be_said() -> None:
    given_values = {
        "LMMS_EVAL_RUN_DIRECTORY": "/somewhere",
        "LMMS_EVAL_REPORTER_TOKEN_FILE": "/token/token",
        "LMMS_EVAL_REPORTER_CA_FILE": "/token/ca.crt",
        "LMMS_EVAL_REPORTER_GRACE_SECONDS": "10",
        "LMMS_EVAL_STORE_ENDPOINT": "http://store:7070",
        "LMMS_EVAL_STORE_REGION": "eu-central-1",
        "LMMS_EVAL_STORE_CA_FILE": "/ca/ca.crt",
    }
    settings = Settings.from_environment(GOOD | given_values)
    assert (settings.directory, settings.grace_seconds) == (Path("/somewhere"), 10.0)
    assert (settings.token_file, settings.ca_file) == (Path("/token/token"), Path("/token/ca.crt"))
    assert (settings.store.endpoint, settings.store.region) == ("http://store:7070", "eu-central-1")
    assert settings.store.ca_file == Path("/ca/ca.crt")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"LMMS_EVAL_RUN": "{}"}, "LMMS_EVAL_RUN is not a run input"),
        ({"LMMS_EVAL_RUN": "secret text"}, "LMMS_EVAL_RUN is not a run input"),
        ({"LMMS_EVAL_REPORTER_GRACE_SECONDS": "soon"}, "LMMS_EVAL_REPORTER_GRACE_SECONDS"),
        ({"LMMS_EVAL_REPORTER_GRACE_SECONDS": "-1"}, "between 0 and 3600"),
        ({"LMMS_EVAL_REPORTER_GRACE_SECONDS": "nan"}, "between 0 and 3600"),
    ],
)
def test_what_is_wrong_is_named_and_not_repeated(wrong: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidSettings, match=named) as caught:
        Settings.from_environment(GOOD | wrong)
    assert "secret text" not in str(caught.value)


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{missing} is not set"):
        Settings.from_environment({name: value for name, value in GOOD.items() if name != missing})


def test_the_probe_sees_the_ready_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(probe.DEFAULT_DIRECTORY) == RUN_DIRECTORY
    monkeypatch.setenv("LMMS_EVAL_RUN_DIRECTORY", str(tmp_path))
    assert probe.main() == 1
    (tmp_path / probe.READY_FILE).write_text("")
    assert probe.main() == 0
