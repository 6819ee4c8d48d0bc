"""The catalog: what is in the directory now is what a lookup finds, and one bad file harms no other."""

import json
import logging
import os
from pathlib import Path

import pytest
import yaml

from kusciajob.files.yaml import parse_documents
from kusciajob.images.catalog import AppImageCatalog, NoAppImageDirectory
from kusciajob.model.errors import UnknownAppImage
from tests.support import kuscia_documents


def document(name: str, *, command: str = "run") -> str:
    return f"""\
apiVersion: kuscia.secretflow/v1alpha1
kind: AppImage
metadata: {{name: {name}}}
spec: {{deployTemplates: [{{name: app, spec: {{containers: [{{name: main, command: [{command}]}}]}}}}]}}
"""


def why_unknown(catalog: AppImageCatalog, name: str) -> str:
    with pytest.raises(UnknownAppImage) as caught:
        catalog.get(name)
    return str(caught.value)


def test_every_document_of_every_yaml_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "kuscia.yaml").write_text("---\n".join([kuscia_documents.SECRETFLOW, kuscia_documents.SCQL]))
    (tmp_path / "psi.yml").write_text(kuscia_documents.PSI)
    (tmp_path / "notes.txt").write_text("not: [yaml")
    (tmp_path / ".hidden.yaml").write_text(document("hidden"))
    (tmp_path / "directory.yaml").mkdir()
    catalog = AppImageCatalog(tmp_path)
    assert catalog.names() == ("psi-image", "scql", "secretflow-image")
    assert catalog.get("scql").template_for("engine").name == "engine"
    assert catalog.get("scql") is catalog.get("scql")


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("---\n".join(document(f"app-{number:03}") for number in range(100)))
    text = why_unknown(AppImageCatalog(tmp_path), "nope")
    assert text.startswith('AppImage "nope" is unknown; there are: app-000, app-001, ')
    assert text.endswith("app-019 and 80 more")


def test_without_a_directory_nothing_is_known() -> None:
    catalog = AppImageCatalog(None)
    assert catalog.names() == ()
    assert why_unknown(catalog, "x") == 'AppImage "x" is unknown: this server has no AppImage directory'


def test_a_directory_may_appear_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalog = AppImageCatalog(tmp_path / "later")
    assert why_unknown(catalog, "a") == (
        'AppImage "a" is unknown; there are: none (the AppImage directory cannot be read: No such file or directory)'
    )
    assert caplog.text == ""
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a.yaml").write_text(document("a"))
    assert catalog.get("a").name == "a"


def test_a_directory_that_vanishes_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "images"
    directory.mkdir()
    catalog = AppImageCatalog(directory)
    directory.rmdir()
    for _ in range(3):
        assert "No such file or directory" in why_unknown(catalog, "a")
    assert caplog.text.count("cannot be read") == 1


@pytest.mark.parametrize(("name", "reason"), [("missing", "No such file or directory"), ("file", "Not a directory")])
def test_a_directory_that_was_asked_for_must_be_one(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NoAppImageDirectory, match=f"{name} cannot be read: {reason}"):
        AppImageCatalog(tmp_path / name, is_required=True)


def test_lists_and_json_files_hold_appimages(tmp_path: Path) -> None:
    (first,) = parse_documents(document("first"))
    (second,) = parse_documents(document("second"))
    (third,) = parse_documents(document("third"))
    (fourth,) = parse_documents(document("fourth"))
    mixed = {"apiVersion": "v1", "kind": "List", "items": [first, {"kind": "Secret"}]}
    untyped = {"metadata": second["metadata"], "spec": second["spec"]}
    typed = {"apiVersion": "kuscia.secretflow/v1alpha1", "kind": "AppImageList", "items": [untyped]}
    (tmp_path / "list.yaml").write_text(yaml.safe_dump_all([mixed, typed]))
    indented = json.dumps(third, indent="\t")
    (tmp_path / "two.JSON").write_text(f"{indented}\n{json.dumps({'kind': 'List', 'items': [mixed, fourth]})}\n")
    catalog = AppImageCatalog(tmp_path)
    # `first` stands in both files.
    assert catalog.names() == ("fourth", "second", "third")
    assert "declared in list.yaml and two.JSON" in why_unknown(catalog, "first")
    assert "list.yaml: document 1, item 2 is a Secret" in why_unknown(catalog, "nope")


def test_what_was_ignored_and_why_is_told_with_an_unknown_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{kuscia_documents.KUSCIA_JOB}---\n- a list\n---\n{{x: 1}}\n")
    (tmp_path / "sub.yaml").mkdir()
    text = why_unknown(AppImageCatalog(tmp_path), "nope")
    assert text.endswith(
        "(ignored: a.yaml: document 1 is a KusciaJob; a.yaml: document 2 is no mapping; "
        "a.yaml: document 3 is without kind and 1 more)"
    )
    (tmp_path / "a.yaml").unlink()
    (tmp_path / ".hidden.yaml").write_text(document("hidden"))
    (tmp_path / "image.yml~").write_text(document("old"))
    assert why_unknown(AppImageCatalog(tmp_path), "nope").endswith(
        '(ignored: .hidden.yaml: its name begins with "."; '
        "image.yml~: its name ends in none of .yaml, .yml, .json; sub.yaml: a directory)"
    )


def test_a_refusal_is_bounded_whatever_is_in_the_directory(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{'x' * 200}{number}.txt").write_text("")
    (tmp_path / "many.yaml").write_text("---\n".join(f"kind: {'k' * 500}{number}\n" for number in range(500)))
    assert len(why_unknown(AppImageCatalog(tmp_path), "nope")) < 3000


def test_a_placeholder_that_nobody_replaced_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{document('a')}---\nimage:\n  name: {{{{.SF_IMAGE_NAME}}}}\n")
    assert (
        'a.yaml: line 7, column 9: the placeholder "{{.SF_IMAGE_NAME}}" of a template has not been replaced'
        in why_unknown(AppImageCatalog(tmp_path), "a")
    )


def test_fields_without_effect_are_told_once_an_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "scql.yaml").write_text(kuscia_documents.SCQL)
    (tmp_path / "psi.yaml").write_text(kuscia_documents.PSI)
    catalog = AppImageCatalog(tmp_path)
    for _ in range(2):
        catalog.names()
    assert [record.getMessage() for record in caplog.records] == [
        "AppImage scql (scql.yaml): these fields have no effect here: networkPolicy, affinity, restartPolicy Always, "
        "envFrom, readinessProbe, livenessProbe, env.valueFrom, resources"
    ]


def test_new_changed_and_removed_files_count_without_a_restart(tmp_path: Path) -> None:
    catalog = AppImageCatalog(tmp_path)
    file = tmp_path / "a.yaml"
    file.write_text(document("a", command="one"))
    assert catalog.get("a").deploy_templates[0].containers[0].command == ("one",)

    file.write_text(document("a", command="other"))
    assert catalog.get("a").deploy_templates[0].containers[0].command == ("other",)

    replacement = tmp_path / "a.tmp"
    replacement.write_text(document("a", command="third"))
    replacement.replace(file)
    assert catalog.get("a").deploy_templates[0].containers[0].command == ("third",)

    file.write_text(document("renamed"))
    assert "is unknown; there are: renamed" in why_unknown(catalog, "a")

    file.unlink()
    assert "is unknown; there are: none" in why_unknown(catalog, "renamed")


def test_a_broken_file_hides_no_other_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "bad.yaml").write_text("kind: [AppImage\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "good.yaml").write_text(document("good"))
    catalog = AppImageCatalog(tmp_path)
    assert catalog.names() == ("good",)
    assert "bad.yaml is not loaded: line 2" in caplog.text
    text = why_unknown(catalog, "nope")
    assert "there are: good (not readable: bad.yaml: line 2" in text
    assert "binary.yaml: it is not UTF-8 text: byte 0 is 0xff" in text


def test_an_invalid_document_is_refused_by_its_name(tmp_path: Path) -> None:
    broken = document("broken").replace("command: [run]", "workingDir: /")
    (tmp_path / "two.yaml").write_text("---\n".join([document("good"), broken]))
    catalog = AppImageCatalog(tmp_path)
    assert catalog.names() == ("good",)
    assert why_unknown(catalog, "broken") == (
        'AppImage "broken" is refused: two.yaml: container "main" has neither command nor args: '
        "one of them must say what to run, or spec.image must name an image that does"
    )

    (tmp_path / "two.yaml").write_text(document("broken"))
    assert catalog.get("broken").name == "broken"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            document("a").replace("kuscia.secretflow/v1alpha1", "apps/v1"),
            'apiVersion is "apps/v1": it must be "kuscia.',
        ),
        (document("a").replace("metadata: {name: a}", "metadata: {}"), "missing required field `name`"),
    ],
)
def test_a_document_that_only_looks_like_an_appimage_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert problem in why_unknown(AppImageCatalog(tmp_path), "a")


def test_documents_of_other_kinds_are_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "job.yaml").write_text("---\n".join([kuscia_documents.KUSCIA_JOB, "- a list\n", document("a")]))
    assert AppImageCatalog(tmp_path).names() == ("a",)
    assert "job.yaml: document 1 is of another kind and ignored" in caplog.text


def test_a_name_in_two_files_is_refused_with_both(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.yaml").write_text(document("same"))
    catalog = AppImageCatalog(tmp_path)
    assert catalog.get("same").name == "same"

    (tmp_path / "b.yaml").write_text(document("same"))
    text = 'AppImage "same" is refused: it is declared in a.yaml and b.yaml: a name must be unique'
    assert why_unknown(catalog, "same") == text
    assert text in caplog.text
    assert catalog.names() == ()

    (tmp_path / "a.yaml").unlink()
    assert catalog.get("same").name == "same"


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert AppImageCatalog(tmp_path).names() == ()
