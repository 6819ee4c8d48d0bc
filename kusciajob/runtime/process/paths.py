"""Maps absolute paths of an AppImage to a party's directory, for a runtime that has no images."""

import os
import re
from collections.abc import Sequence

# A path with one of these before or behind it is another, longer path.
_BEFORE = (
    r"(?:(?<![\w./~$})])(?<![\w})][\"'])"  # no directory, no variable in front, quoted or not
    r"|(?<=^-\w)|(?<=\s-\w)"  # -c/etc/x
    r"|(?<=\bfile://))"
)
_AFTER_FILE = r"(?!/|\.?[\w~-])"
_AFTER_DIRECTORY = r"(?=/|(?!\.?[\w~-]))"
_SLASH = r"/(?:\.?/)*"
_SHELL_SAFE = re.compile(r"[\w./@%+=:,-]+")


class PathPlacer:
    """Puts a party's directory before the absolute paths of its config files in a text.

    The same happens to all paths below the directory of such a file, and below the working directory, unless this
    machine has a directory of that name.
    """

    def __init__(self, root: str, *, files: Sequence[str], working_dir: str) -> None:
        self._root = root
        directories = {os.path.dirname(file) for file in files} | {working_dir}
        absent = [path for path in directories if path.strip("/") and not os.path.isdir(path)]
        # The longest first: one path can be the beginning of another.
        patterns = [(path, _AFTER_FILE) for path in files] + [(path, _AFTER_DIRECTORY) for path in absent]
        patterns.sort(key=lambda entry: len(entry[0]), reverse=True)
        alternatives = "|".join(_pattern(path) + after for path, after in patterns)
        self._pattern = re.compile(f"{_BEFORE}(?:{alternatives})") if patterns else None

    def place(self, text: str) -> str:
        """The text, with those paths moved into the party's directory."""
        return self._pattern.sub(self._move, text) if self._pattern is not None and "/" in text else text

    def would_break(self, word: str) -> bool:
        """Whether a shell reads the path in that word of a command line, and would split the party's directory."""
        is_plain = _SHELL_SAFE.fullmatch(self._root) or _SHELL_SAFE.fullmatch(word)
        return not is_plain and self.place(word) != word

    def _move(self, match: re.Match[str]) -> str:
        return self._root + os.path.normpath(match[0])


def _pattern(path: str) -> str:
    return "/" + _SLASH.join(map(re.escape, filter(None, path.split("/"))))


def mentioned(text: str, paths: Sequence[str]) -> str:
    """The first of these paths that the text names unchanged; "" for none."""
    for path in paths:
        if re.search(rf"(?<![\w./~-]){re.escape(path)}{_AFTER_FILE}", text):
            return path
    return ""
