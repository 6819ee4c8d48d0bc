"""Files that the operator or a user wrote: whatever is in them, only our own errors come of it, and soon."""

from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kusciajob import config
from kusciajob.config import SettingsError
from kusciajob.files import yaml as yamlfile
from kusciajob.images.catalog import AppImageCatalog
from kusciajob.images.document import from_document
from kusciajob.model import template
from kusciajob.model.errors import InvalidAppImage, TemplateError, UnknownAppImage
from kusciajob.runtime.domains import InvalidDomains, read_domains
from kusciajob.wire import jobfile
from tests.fuzz import strategies
from tests.fuzz.budget import examples
from tests.support.linear import linear_time

pytestmark = pytest.mark.hostile

MIB = 1 << 20
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(12)
)
HUGE = {
    "bomb": BOMB,
    "merges": "a: &a {b: c}\n" + "".join(f"k{n}: {{<<: *a}}\n" for n in range(2_000)),
    "flow lists": "[" * 100_000,
    "flow mappings": "{a: " * 100_000,
    "json objects": '{"a":' * 100_000,
    "block lists": "- " * 100_000 + "x",
    "indented": "".join(" " * n + "a:\n" for n in range(1000)),
    "long key": "a" * MIB + ": 1",
    "long value": "metadata: {name: "
    + "a" * MIB
    + "}\nkind: AppImage\napiVersion: kuscia.secretflow/v1alpha1\nspec: {}",
    "long quoted": '"' + "\\u0061" * (MIB // 6) + '"',
    "digits": "grpc_port: " + "9" * MIB,
    "underscored": "grpc_port: " + "1_" * 100_000 + "1",
    "sexagesimal": "grpc_port: " + "1:" * 100_000 + "1",
    "comments": "#\n" * 300_000,
    "documents": "---\n" * 10_000,
    "anchors": "".join(f"- &a{n} x\n" for n in range(5_000)),
    "alias of itself": "&a [*a]",
    "tags": "!!python/object/apply:os.system [true]",
    "timestamp": "host: 2001-13-45",
    "surrogate": '"\\ud800"',
    "mixed keys": "{1: a, null: b, true: c, [x]: d}",
    "binary": "\x00\x01\x02",
    "nel": "a\x85b\u2028c\ufeff",
}


def check_text(error: Exception, word: str = "") -> None:
    """It says what is wrong and does not repeat all of it."""
    assert word in str(error)
    assert 0 < len(str(error)) < 10_000


def load_everything(text: str, directory: Path) -> None:
    """As each kind of file there is."""
    with linear_time():
        try:
            for document in yamlfile.parse_documents(text):
                try:
                    from_document(document)
                except InvalidAppImage as error:
                    check_text(error)
        except yamlfile.InvalidYaml as error:
            check_text(error)
        try:
            jobfile.parse_job(text, source="job.yaml")
        except jobfile.JobFileError as error:
            check_text(error)
        for parse in (yamlfile.parse_documents, yamlfile.parse_json_documents):
            try:
                read_domains(parse(text))
            except (yamlfile.InvalidYaml, InvalidDomains) as error:
                check_text(error)
        (directory / "any.json").write_text(text, encoding="utf-8", errors="surrogatepass")
        for suffix in ("yaml", "toml"):
            file = directory / f"settings.{suffix}"
            file.write_text(text, encoding="utf-8", errors="surrogatepass")
            try:
                config.load({}, environment={}, file=file)
            except SettingsError as error:
                check_text(error)
        catalog = AppImageCatalog(directory)
        catalog.names()
        try:
            catalog.get("any")
        except UnknownAppImage as error:
            check_text(error)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.mark.parametrize("name", HUGE)
def test_what_is_huge_deep_or_exponential(name: str, directory: Path) -> None:
    load_everything(HUGE[name], directory)


@examples(40)
@given(text=st.text(max_size=200) | st.text("{}[]:,-&*!|>'\"\n #?%@`<~ab01", max_size=60))
def test_any_text(text: str, directory: Path) -> None:
    load_everything(text, directory)


keys = st.sampled_from(
    [
        *("apiVersion", "kind", "metadata", "name", "spec", "deployTemplates", "containers", "command", "ports", "env"),
        *("configTemplates", "configVolumeMounts", "mountPath", "subPath", "role", "replicas", "tasks", "parties"),
        *("job_id", "initiator", "priority", "resources", "cpu", *config.Settings.__struct_fields__),
    ]
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | strategies.texts | st.just("~nobody/x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | strategies.texts, inner, max_size=5),
    max_leaves=20,
)


@examples(40)
@given(document=documents)
def test_any_document(document: object, directory: Path) -> None:
    load_everything(yaml.safe_dump(document, allow_unicode=True), directory)


@examples(40)
@given(name=st.sampled_from(config.Settings.__struct_fields__), value=strategies.texts | st.just("~nobody/x"))
def test_any_value_of_a_setting(name: str, value: str) -> None:
    for flags, environment in (({name: value}, {}), ({}, {f"KUSCIAJOB_{name.upper()}": value})):
        try:
            config.load(flags, environment=environment)
        except SettingsError as error:
            check_text(error, name)


def test_bytes_that_are_no_text(directory: Path) -> None:
    file = directory / "binary.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read"):
        config.load({}, environment={}, file=file)


VALUES = (
    "",
    "0",
    "a",
    '{"a": [1, {"a": "b"}]}',
    "[" * 100_000,
    '{"a":' * 50_000,
    '{"a": "\\ud800"}',
    "{{.Y}}",
    "x" * MIB,
)
pieces = st.sampled_from(
    ["{{", "}}", "{{{", "}}}", ".", "X", "Y", "[", "]", "=", "[0]", "[.Y]", "[a=b]", ".a", " ", "-1", "\n", "é", "\0"]
)


@examples(120)
@given(text=st.lists(pieces, max_size=14).map("".join), data=st.data())
def test_any_template(text: str, data: st.DataObject) -> None:
    given_values = {name: VALUES[data.draw(st.integers(0, len(VALUES) - 1))] for name in ("X", "Y")}
    with linear_time():
        try:
            rendered = template.render(text, given_values).text
        except TemplateError as error:
            check_text(error)
        else:
            assert "{{" in text or rendered == text


@examples(40)
@given(value=st.text(max_size=50))
def test_a_value_fits_between_the_quotes_of_json(value: str) -> None:
    assert msgspec.json.decode(template.render('"{{.X}}"', {"X": value}).text) == value


@pytest.mark.parametrize("text", ["{{.NOPE}}", "{{{.X.nope}}}", "{{{.X[9]}}}", "{{{.X[.X[.X[.X]]]}}}", "{{" * 100_000])
def test_a_template_that_refers_to_nothing(text: str) -> None:
    with linear_time(), pytest.raises(TemplateError):
        template.render(text, {"X": '{"a": 1}'}, is_strict=True)
