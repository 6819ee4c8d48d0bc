"""An AppImage's own absolute paths become the party's, in any text, and no other path does."""

import subprocess
from pathlib import Path

import pytest

from kusciajob.runtime.process.paths import PathPlacer, mentioned
from tests.support.linear import linear_time

FILES = ("/no-such/etc/app.conf", "/no-such/etc/app.conf.d/more.yml", "/etc/only-the-file.conf", "/w/task.json")


def placed(text: str, *, root: str = "/p", working_dir: str = "/w") -> str:
    return PathPlacer(root, files=FILES, working_dir=working_dir).place(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/w/task.json", "/p/w/task.json"),
        ("--config=/w/task.json", "--config=/p/w/task.json"),
        ("-c/w/task.json", "-c/p/w/task.json"),
        ("run -c/w/task.json -v", "run -c/p/w/task.json -v"),
        ("cat /w/task.json", "cat /p/w/task.json"),
        ("echo $(cat /w/task.json); cd /w && ls", "echo $(cat /p/w/task.json); cd /p/w && ls"),
        ("a '/w/task.json' \"/w/task.json\"", "a '/p/w/task.json' \"/p/w/task.json\""),
        ('x="/w/task.json"', 'x="/p/w/task.json"'),
        ("</w/task.json >/w/out", "</p/w/task.json >/p/w/out"),
        ("@/w/task.json", "@/p/w/task.json"),
        ("/a:/w/task.json:/b", "/a:/p/w/task.json:/b"),
        ("file:///w/task.json", "file:///p/w/task.json"),
        ("It is in /w/task.json.", "It is in /p/w/task.json."),
        ("/w//task.json /w/./task.json", "/p/w/task.json /p/w/task.json"),
        ("/no-such/etc/app.conf", "/p/no-such/etc/app.conf"),
        ("/no-such/etc/app.conf.d/more.yml", "/p/no-such/etc/app.conf.d/more.yml"),
        ("--config-dir=/no-such/etc", "--config-dir=/p/no-such/etc"),
        ("--config-dir=/no-such/etc/", "--config-dir=/p/no-such/etc/"),
        ("/etc/only-the-file.conf", "/p/etc/only-the-file.conf"),
        ("/w", "/p/w"),
        ("/w/out/data.csv", "/p/w/out/data.csv"),
    ],
)
def test_a_declared_path_is_put_into_the_partys_directory(text: str, expected: str) -> None:
    assert placed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "task.json",
        "./w/task.json ../w/task.json ~/w/task.json",
        "w/task.json",
        "/data/w/task.json",
        "http://w/task.json http://host/w/task.json https://host:80/w/task.json",
        "$HOME/w/task.json ${HOME}/w/task.json $(pwd)/w/task.json",
        '"$HOME"/w/task.json "${HOME}"/w/task.json',
        "//w/task.json",
        "/world /w-2/task.json /w.json /w~",
        "/etc /etc/passwd /etc/only-the-file.conf.bak /etc/only-the-file.conf/x /etc/only-the-file.conf-2",
        "/no-such /no-such/etcetera",
    ],
)
def test_another_path_stays(text: str) -> None:
    assert placed(text) == text


def test_a_directory_of_this_machine_is_not_the_partys(tmp_path: Path) -> None:
    text = f"ls {tmp_path} {tmp_path}/other {tmp_path}/a.conf"
    placer = PathPlacer("/p", files=[f"{tmp_path}/a.conf"], working_dir=str(tmp_path))
    assert placer.place(text) == f"ls {tmp_path} {tmp_path}/other /p{tmp_path}/a.conf"


def test_a_shell_finds_the_file(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "w").mkdir(parents=True)
    (root / "w" / "task.json").write_text("here")
    text = 'f=/w/task.json; cat "$f" /w/task.json "/w"/task.json $(echo /w/task.json)'
    script = placed(text, root=str(root))
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == "here" * 4


@pytest.mark.parametrize(
    ("root", "word", "breaks"),
    [
        ("/plain", "cat /w/task.json", False),
        ("/with blank", "/w/task.json", False),
        ("/with blank", "--config=/w/task.json", False),
        ("/with blank", "cat /w/task.json", True),
        ("/with'quote", "cat /w/task.json", True),
        ("/with blank", "cat w/task.json", False),
    ],
)
def test_a_directory_that_a_shell_would_split_is_noticed(root: str, word: str, *, breaks: bool) -> None:
    assert PathPlacer(root, files=FILES, working_dir="/w").would_break(word) == breaks


def test_without_files_and_directory_nothing_is_looked_for() -> None:
    assert PathPlacer("/p", files=(), working_dir="").place("/w/task.json") == "/w/task.json"


@pytest.mark.parametrize("text", ["/" * 500_000, "/w" * 200_000, "/./" * 200_000, "/w/task.json " * 40_000])
def test_long_texts_take_linear_time(text: str) -> None:
    with linear_time():
        placed(text)


@pytest.mark.parametrize(
    ("told", "path"),
    [
        ("cat: /w/task.json: No such file or directory", "/w/task.json"),
        ("open '/no-such/etc/app.conf'", "/no-such/etc/app.conf"),
        ("cat: /p/w/task.json: No such file or directory", ""),
        ("/w/task.json.bak", ""),
        ("", ""),
    ],
)
def test_a_path_in_a_programs_last_words_is_found(told: str, path: str) -> None:
    assert mentioned(told, FILES) == path
