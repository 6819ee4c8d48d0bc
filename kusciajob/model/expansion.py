"""`$(NAME)` in a container's env, command and args, exactly as Kubernetes expands it."""

from collections.abc import Mapping


def expand(text: str, values: Mapping[str, str]) -> str:
    """The text with each reference to a known name replaced, `$$` as `$`, and everything else as it stands.

    What a name stands for is not looked at again.
    """
    last_closing = text.rfind(")")
    pieces: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        pieces.append(text[position:dollar])
        position = dollar + 2
        follower = text[dollar + 1 : position]
        if follower == "$":
            pieces.append("$")
        elif follower == "(" and position <= last_closing:
            end = text.find(")", position)
            pieces.append(values.get(text[position:end], text[dollar : end + 1]))
            position = end + 1
        else:
            pieces.append(text[dollar:position])
    pieces.append(text[position:])
    return "".join(pieces)
