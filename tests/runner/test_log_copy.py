"""The log on its way out: lines whole, bars collapsed, secrets hidden wherever the bytes were cut."""

import errno
import io
import os
import tempfile
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.log_marks import MARK_EVERY, find_offset
from lmms_eval_core.redact import HIDDEN, Redactor
from lmms_eval_runner import harness_log
from lmms_eval_runner.harness_log import MAX_PENDING, LogCopy, LogFile, open_raw_log
from lmms_eval_runner.log_lines import BAR_SECONDS, MAX_READ, MAX_SHOWN, LineReader
from lmms_eval_runner.redaction import find_secrets

SECRET = "s3cr3t-value-of-a-secret"


def read(*pieces: bytes, now: float = 0.0) -> list[bytes]:
    reader = LineReader()
    return [line for piece in pieces for line in reader.feed(piece, now)] + reader.finish()


def copied(raw: bytes, redact: Redactor, step: int = 7) -> str:
    target, seen = io.BytesIO(), list[str]()
    with tempfile.TemporaryFile(buffering=0) as source:
        log = LogCopy(source.fileno(), [target], redact=redact, clock=lambda: 0.0, on_line=seen.append)
        for start in range(0, len(raw), step):
            os.write(source.fileno(), raw[start : start + step])
            log.pump()
        log.finish()
    assert target.getvalue().decode() == "".join(f"{line}\n" for line in seen)
    return target.getvalue().decode()


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\r\nb", [b"a", b"b"]),
        (b"\r  0%|\r 50%|\r100%|\nnext\n", [b"100%|", b"next"]),
        (b" 0%\r100%\r\n", [b"100%"]),
        (b"\n\n", [b"", b""]),
        (b"", []),
    ],
)
def test_lines(raw: bytes, lines: list[bytes]) -> None:
    assert read(raw) == lines


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_how_the_bytes_arrive_makes_no_difference(raw: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    pieces = [raw[start:end] for start, end in zip(places, places[1:], strict=False)]
    assert read(*pieces) == read(raw)


def test_a_moving_bar_is_shown_from_time_to_time() -> None:
    reader = LineReader()
    assert reader.feed(b"\r 1%", now=BAR_SECONDS) == [b" 1%"]
    assert reader.feed(b"\r 2%", now=BAR_SECONDS + 1) == []
    assert reader.feed(b"\r 3%", now=2 * BAR_SECONDS) == [b" 3%"]
    assert reader.feed(b"\r 4%\n", now=2 * BAR_SECONDS) == [b" 4%"]


def test_an_endless_line_is_cut_and_the_next_one_is_whole() -> None:
    reader = LineReader()
    lines = [line for _ in range(20) for line in reader.feed(b"x" * 10_000, now=0.0)]
    assert [len(line) for line in lines] == [MAX_READ]
    assert reader.feed(b"still the same\nnext\n", now=0.0) == [b"next"]


def test_colours_bars_and_secrets_go() -> None:
    raw = f"\x1b[32m2026\x1b[0m token {SECRET}\r100%|\x1b[1m{SECRET}\x1b[0m\n".encode()
    assert copied(raw, Redactor([SECRET])) == f"100%|{HIDDEN}\n"


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert copied(b"\xff\xfe ok\n", Redactor()) == "�� ok\n"


def long_log() -> bytes:
    target = io.BytesIO()
    with tempfile.TemporaryFile(buffering=0) as source:
        log = LogCopy(source.fileno(), [target], redact=Redactor(), clock=lambda: 0.0, on_line=lambda line: None)
        for number in range(40):
            source.write(f"{number} is a number\n".encode() * 500)
            log.pump()
    return target.getvalue()


def test_who_has_the_end_of_a_long_log_knows_which_byte_it_begins_with() -> None:
    log = long_log()
    assert log.count(b"this line begins at byte") == len(log) // MARK_EVERY
    for cut in range(0, len(log), 997):
        assert find_offset(log[cut:]) == (cut if b"\nlmms-eval-runner: " in log[max(cut - 1, 0) :] else None)


def test_nothing_is_known_of_the_place_of_text_without_a_mark() -> None:
    assert find_offset(b"") is None
    assert find_offset(b"lmms-eval-runner: attempt 1 of team/a: python") == 0
    assert find_offset(b"more than that\nlmms-eval-runner: this line begins at byte 3\n") is None


@pytest.mark.parametrize("offset", [0, 1, len(SECRET) // 2, len(SECRET) - 1, len(SECRET), 2 * len(SECRET)])
def test_a_cut_line_shows_no_half_of_a_secret(offset: int) -> None:
    line = b"x" * (MAX_READ - offset) + SECRET.encode() * 3
    shown = copied(line + b"\n", Redactor([SECRET]), step=20_000)
    assert SECRET[:6] not in shown
    assert len(shown) <= MAX_SHOWN + 1


def test_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    with tempfile.TemporaryFile(buffering=0) as source, Path("/dev/full").open("wb", buffering=0) as full:
        seen: list[str] = []
        log = LogCopy(source.fileno(), [full], redact=Redactor(), clock=lambda: 0.0, on_line=seen.append)
        source.write(b"line\n")
        log.pump()
        log.add_line("ours")
    assert seen == ["line", "lmms-eval-runner: ours"]


@pytest.mark.parametrize(
    ("environ", "names", "text", "shown"),
    [
        ({"JUDGE": "abcdef-12"}, ["JUDGE"], "judge abcdef-12.", f"judge {HIDDEN}."),
        ({"OPENAI_API_KEY": "abcdef-12"}, [], "judge abcdef-12.", f"judge {HIDDEN}."),
        ({"JUDGE": 'a"b\\c d/e'}, ["JUDGE"], 'x a\\"b\\\\c d/e y', f"x {HIDDEN} y"),
        ({"JUDGE": 'a"b\\c d/e'}, ["JUDGE"], "x a%22b%5Cc%20d%2Fe y", f"x {HIDDEN} y"),
        ({"JUDGE": 'a"b\\c d/e'}, ["JUDGE"], "x a%22b%5Cc+d%2Fe y", f"x {HIDDEN} y"),
        ({"JUDGE": 'a"b\\c d/e'}, ["JUDGE"], "x " + repr({"k": 'a"b\\c d/e'}), "x {'k': '" + HIDDEN + "'}"),
        ({"JUDGE": "zq81-ü-value"}, ["JUDGE"], "x zq81-\\u00fc-value", f"x {HIDDEN}"),
        ({"JUDGE": "zq81-?>~-value"}, ["JUDGE"], b64encode(b"zq81-?>~-value").decode(), f"{HIDDEN}U="),
        (
            {"JUDGE": "zq81-?>~-value"},
            ["JUDGE"],
            urlsafe_b64encode(b"user:zq81-?>~-value").decode(),
            f"dXNlcjp{HIDDEN}Q==",
        ),
        ({"CERT": "first line\nsecond line"}, ["CERT"], "second line", HIDDEN),
        ({"HOME": "/home/me"}, [], "/home/me", "/home/me"),
        ({"JUDGE": "short"}, ["JUDGE"], "a short one", "a short one"),
    ],
)
def test_values_of_secrets(environ: dict[str, str], names: list[str], text: str, shown: str) -> None:
    assert Redactor(find_secrets(environ, names))(text) == shown


class Volume:
    """A file of a volume with so much `room` left."""

    def __init__(self, room: int) -> None:
        self.room, self.content = room, b""

    def write(self, data: bytes) -> int:
        taken = data[: self.room]
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(taken)
        self.content += taken
        return len(taken)

    def close(self) -> None:
        return


def log_on(volume: Volume, path: Path) -> LogFile:
    log = LogFile(path)
    log._file.close()
    log._file = volume  # type: ignore[assignment]  # a double of the file
    return log


def test_what_a_full_volume_did_not_take_is_written_when_there_is_room(tmp_path: Path) -> None:
    volume = Volume(room=10)
    log = log_on(volume, tmp_path / "log.txt")
    for line in (b"the first line\n", b"the second\n"):
        with pytest.raises(OSError, match="No space"):
            log.write(line)
    assert volume.content == b"the first "
    volume.room = 1000
    log.write(b"the last\n")
    assert volume.content == b"the first line\nthe second\nthe last\n"


def test_of_more_than_can_be_kept_the_end_is_kept_and_the_loss_is_said(tmp_path: Path) -> None:
    volume, line = Volume(room=0), b"x" * 999 + b"\n"
    log = log_on(volume, tmp_path / "log.txt")
    for _ in range(3 * MAX_PENDING // 1000):
        with pytest.raises(OSError, match="No space"):
            log.write(line)
    volume.room = 2 * MAX_PENDING
    log.write(b"the last\n")
    notes = [found for found in volume.content.splitlines() if found.startswith(b"lmms-eval-runner: ")]
    assert len(notes) == 1 and b"are missing here, because the volume was full" in notes[0]
    assert len(volume.content) < MAX_PENDING and volume.content.endswith(line + b"the last\n")


def test_the_raw_log_takes_no_memory_once_it_is_copied() -> None:
    with open_raw_log() as raw:
        log = LogCopy(raw, [], redact=Redactor(), clock=lambda: 0.0, on_line=lambda line: None)
        for _ in range(8):
            os.write(raw, (b"x" * 899 + b"\n") * 1000)
            log.pump()
        assert os.fstat(raw).st_size == 8 * 900_000
        assert os.fstat(raw).st_blocks * 512 <= 8192


def test_a_flood_is_passed_over_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness_log, "MAX_BACKLOG", 1000)
    seen: list[str] = []
    with open_raw_log() as raw:
        log = LogCopy(raw, [], redact=Redactor(), clock=lambda: 0.0, on_line=seen.append)
        os.write(raw, b"first\nopen")
        log.pump()
        os.write(raw, b"x" * 2000 + b"\nlast\n")
        log.finish()
    assert (seen[0], seen[1], seen[-1]) == ("first", "open", "last")
    assert "bytes of the log are missing here" in seen[2]
