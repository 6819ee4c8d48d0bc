"""`kusciajob completion`: shells complete commands, options, choices and files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import END_SECONDS, kusciajob
from tests.support.server import clean_environment

_COMPLETE = """
set -e
script=$(kusciajob completion bash)
bash -n <<< "$script"
eval "$script"
complete -p kusciajob >&2
for words in "sto" "completion z" "settings --grpc-p" "settings --runtime sim"; do
    COMP_WORDS=(kusciajob $words) COMP_CWORD=$(wc -w <<< "$words") COMPREPLY=()
    _kusciajob_completion kusciajob
    echo "$words: ${COMPREPLY[*]}"
done
"""


def path_with_program(directory: Path) -> str:
    """PATH with the program of this environment first."""
    program = directory / "kusciajob"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kusciajob "$@"\n')
    program.chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_choices(tmp_path: Path) -> None:
    environment = clean_environment() | {"PATH": path_with_program(tmp_path)}
    completed = subprocess.run(
        ["bash", "-c", _COMPLETE], env=environment, capture_output=True, text=True, timeout=END_SECONDS, check=False
    )
    assert (completed.returncode, completed.stdout.splitlines()) == (
        0,
        [
            "sto: stop",
            "completion z: zsh",
            "settings --grpc-p: --grpc-port",
            "settings --runtime sim: simulated",
        ],
    ), completed.stderr
    assert "_kusciajob_completion kusciajob" in completed.stderr


@pytest.mark.parametrize(
    ("shell", "current", "answer"),
    [("zsh", "1", "plain\nstop\nEnd a job as Failed."), ("fish", "sto", "plain,stop\tEnd a job as Failed.")],
)
def test_the_scripts_of_other_shells_ask_what_the_program_answers(shell: str, current: str, answer: str) -> None:
    script = kusciajob("completion", shell).stdout
    assert f"_KUSCIAJOB_COMPLETE={shell}_complete" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, timeout=END_SECONDS, check=True)
    asked = {"_KUSCIAJOB_COMPLETE": f"{shell}_complete", "COMP_WORDS": "kusciajob sto", "COMP_CWORD": current}
    assert answer in kusciajob(server=None, **asked).stdout


def test_a_setting_that_is_a_directory_completes_directories() -> None:
    asked = {
        "_KUSCIAJOB_COMPLETE": "bash_complete",
        "COMP_WORDS": "kusciajob settings --data-dir ex",
        "COMP_CWORD": "3",
    }
    assert kusciajob(server=None, **asked).stdout == "dir,ex\n"
