"""The template renderer: a template and two values that it may refer to, separated by NUL."""

from kusciajob.model import template
from kusciajob.model.errors import TemplateError
from tests.fuzz.raw.texts import check_text


def run(data: bytes) -> None:
    """Render, or tell in few words why not."""
    text, x, y, *_ = *data.decode(errors="replace").split("\0", 2), "", ""
    try:
        rendered = template.render(text, {"X": x, "Y": y}).text
    except TemplateError as error:
        check_text(error)
    else:
        assert "{{" in text or rendered == text


def seeds() -> list[bytes]:
    value = '{"a": [1, -2.5e3, {"b": "c\\u0041"}], "d": {"e": "0"}, "f": null}'
    texts = (
        "plain {text}",
        '{"x": "{{.X}}", "y": "{{ .Y }}"}',
        "{{{.X}}} {{{{.Y}}}}",
        "{{{.X.a[0]}}}{{{.X.a[-1].b}}}",
        "{{{.X.a[b=cA].b}}}",
        "{{{.X.a[.X.d.e]}}}",
        "{{{ .X.f }}}\n{{.x}}",
        "{{.NOPE}}",
        "{{{.X[.X[.X[.X]]]}}}",
        "{{.X",
    )
    return ["\0".join((text, value, '"quoted"')).encode() for text in texts]
