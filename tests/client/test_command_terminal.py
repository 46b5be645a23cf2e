"""`lmmeval` in a terminal: colours, a bar, a live view; and that what it shows there is nowhere else."""

import re
from collections.abc import Callable

import pytest
from command_fixtures import CommandLine, Terminal
from job_states import complete_job, start_job

from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SUBMIT = ("submit", "--model", "llava_hf", "--model_args", "pretrained=a/b", "--tasks", "mme")
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")

Start = Callable[..., Terminal]


async def test_a_wait_shows_a_bar_that_goes_and_leaves_the_scores(in_terminal: Start, client: Transport) -> None:
    terminal = in_terminal(*SUBMIT, "--name", "good", "--wait")
    terminal.read("queued (WaitingForTurn), 0 before it")
    await start_job(client, "good")
    terminal.read("running (Evaluating), 8/32 25%")
    terminal.read("1.5/s 16s left")
    await complete_job(client, "good")
    assert terminal.end() == 0
    assert "━" in terminal.text and "\x1b[" in terminal.text
    last = CONTROL.sub("", terminal.text).replace("\r", "\n").rstrip().splitlines()[-1]
    assert last == "mme 0.5"


def test_an_interrupted_wait_gives_the_terminal_back(in_terminal: Start) -> None:
    terminal = in_terminal(*SUBMIT, "--name", "job", "--wait")
    terminal.read("0 before it")
    terminal.interrupt()
    assert terminal.end() == 130
    assert "lmmeval watch job" in terminal.text
    assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l"), "the cursor is left hidden"


async def test_a_list_is_coloured_by_state(in_terminal: Start, command_line: CommandLine, client: Transport) -> None:
    command_line.answer(*SUBMIT, "--name", "good")
    await complete_job(client, "good")
    terminal = in_terminal("ls")
    assert terminal.end() == 0
    assert "\x1b[32mcompleted\x1b[0m" in terminal.text
    assert "\x1b" not in command_line.answer("ls")


async def test_top_goes_on_until_it_is_interrupted(
    in_terminal: Start, command_line: CommandLine, client: Transport
) -> None:
    terminal = in_terminal("top", "--interval", "0.2")
    terminal.read("0 running, 0 queued")
    command_line.answer(*SUBMIT, "--name", "job")
    terminal.read("0 running, 1 queued")
    await start_job(client, "job")
    terminal.read("1 running, 0 queued")
    terminal.interrupt()
    assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    assert terminal.text.rstrip().endswith("\x1b[?25h\x1b[?1049l"), "cursor and screen are given back"


async def test_colours_can_be_turned_off(in_terminal: Start, command_line: CommandLine, client: Transport) -> None:
    command_line.answer(*SUBMIT, "--name", "good")
    await complete_job(client, "good")
    terminal = in_terminal("ls", NO_COLOR="1")
    assert terminal.end() == 0
    assert "completed" in terminal.text and "\x1b[3" not in terminal.text
