"""The log of a service: one event a line, by `logging` or without it."""

import json
import logging

import pytest

from lmms_eval_core import jsonlog

log = logging.getLogger("tests.jsonlog")
FACTS = {"path": "/jobs/é", "status": 200, "caller": None}


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_event_without_a_record_is_written_as_one_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    log.setLevel(logging.INFO)
    jsonlog.write(log, logging.WARNING, "request", FACTS)
    record = log.makeRecord(log.name, logging.WARNING, "here", 1, "request", (), None, extra=FACTS)
    direct, formatted = capsys.readouterr().err, jsonlog.JsonFormatter().format(record) + "\n"
    (one,), (other,) = lines(direct), lines(formatted)
    for line in (one, other):
        assert str(line.pop("time")).endswith("+00:00")
    assert one == other == {"level": "warning", "logger": "tests.jsonlog", "event": "request", **FACTS}
    assert direct.partition('"level"')[2] == formatted.partition('"level"')[2]


@pytest.mark.parametrize("value", ["é", "\ud800", "\u202e\x1b[2J", 10**400, float("nan"), {"a": {1, 2}}, object()])
def test_every_fact_becomes_one_line_of_ascii(value: object) -> None:
    record = log.makeRecord(log.name, logging.WARNING, "here", 1, "event", (), None, extra={"fact": value})
    line = jsonlog.JsonFormatter().format(record)
    assert line.isascii() and line.isprintable()
    assert json.loads(line)["event"] == "event"


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    log.setLevel(logging.INFO)
    jsonlog.write(log, logging.DEBUG, "request", FACTS)
    assert capsys.readouterr().err == ""


def test_a_log_that_is_gone_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    log.setLevel(logging.INFO)
    jsonlog.write(log, logging.INFO, "request", FACTS)
