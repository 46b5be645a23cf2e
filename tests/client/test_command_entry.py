"""How `lmmeval` comes onto a machine: as the README installs it, as a plug-in of kubectl, and with completion for each
shell.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_fixtures import CommandLine
from deployment import ROOT
from provided import find_program

# As a shell asks what could come next: typer's protocol for it.
ASKED = {
    "bash": {"_LMMEVAL_COMPLETE": "complete_bash", "COMP_WORDS": "lmmeval sub", "COMP_CWORD": "1"},
    "zsh": {"_LMMEVAL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "lmmeval sub"},
    "fish": {
        "_LMMEVAL_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_ARGS": "lmmeval sub",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    },
}
INSTALLED = {
    "bash": ".bash_completions/lmmeval.sh",
    "zsh": ".zfunc/_lmmeval",
    "fish": ".config/fish/completions/lmmeval.fish",
}
BY_NAME = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
FRAMES = re.compile("[\u2500-\u257f\x1b]")


@pytest.mark.parametrize("shell", ASKED)
def test_each_shell_is_offered_commands(without_server: CommandLine, shell: str) -> None:
    done = CommandLine(without_server.environment | ASKED[shell])()
    assert (done.returncode, done.stderr) == (0, "")
    assert "submit" in done.stdout and "cancel" not in done.stdout


@pytest.mark.parametrize("shell", INSTALLED)
def test_completion_is_installed_for_each_shell(without_server: CommandLine, tmp_path: Path, shell: str) -> None:
    CommandLine(without_server.environment | BY_NAME).answer("--install-completion", shell)
    script = (tmp_path / INSTALLED[shell]).read_text()
    assert "lmmeval" in script and f"complete_{shell}" in script


def test_bash_takes_what_was_installed(without_server: CommandLine, tmp_path: Path) -> None:
    CommandLine(without_server.environment | BY_NAME).answer("--install-completion", "bash")
    done = subprocess.run(
        ["bash", "-c", "source ~/.bashrc; complete -p lmmeval"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.rstrip().endswith("lmmeval")


@pytest.mark.parametrize(
    "arguments", [("--help",), ("submit", "--help"), ("frobnicate",), ("ls", "--limit", "x"), ()], ids=" ".join
)
def test_in_a_pipe_there_are_no_frames_and_no_colours(without_server: CommandLine, arguments: tuple[str, ...]) -> None:
    done = without_server(*arguments)
    assert "lmmeval" in done.stdout + done.stderr
    assert FRAMES.findall(done.stdout + done.stderr) == []


def test_help_is_framed_in_a_terminal(without_server: CommandLine) -> None:
    terminal = without_server.terminal("--help")
    try:
        assert terminal.end() == 0
        assert FRAMES.search(terminal.text)
    finally:
        terminal.close()


@pytest.fixture(scope="module")
def as_the_readme_says(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds what the README's command installs, and nothing else."""
    (packages,) = re.findall(
        r"^    pip install (\./core '\./client\[cli\]')", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    folder = tmp_path_factory.mktemp("readme") / "venv"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    install = [
        *uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(folder / "bin" / "python"),
        *packages.replace("'", "").split(),
    ]
    subprocess.run(install, cwd=ROOT, check=True)
    return folder / "bin"


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_the_readmes_installation_brings_the_commands(as_the_readme_says: Path, tmp_path: Path) -> None:
    environment = {"PATH": f"{as_the_readme_says}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    lmmeval = CommandLine(environment, command=(str(as_the_readme_says / "lmmeval"),))
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", lmmeval.answer("--version"))
    assert lmmeval.answer("submit", "--help").startswith("Usage: lmmeval submit ")
    kubectl = CommandLine(environment, command=(find_program("kubectl"),))
    assert kubectl.answer("lmmeval", "ls", "--help").startswith("Usage: kubectl lmmeval ls ")
    # kubectl's own completion: it asks our program, and hands on what that says.
    assert kubectl.answer("__complete", "lmmeval", "sub").splitlines()[:2] == ["submit", ":4"]
    assert kubectl.answer("__complete", "lmmeval", "submit", "--task").splitlines()[:2] == ["--tasks", ":4"]
