"""Job files: every form that people have becomes one request; what does not fit is named with file and place."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kusciajob.files.yaml import parse_documents
from kusciajob.wire.jobfile import JobFileError, parse_job, places_in, read_job_file
from tests.support import kuscia_documents

REQUEST: dict[str, Any] = {
    "header": {"custom_headers": {"a": "b"}},
    "job_id": "job-1",
    "initiator": "alice",
    "max_parallelism": 2,
    "tasks": [
        {
            "app_image": "psi",
            "parties": [
                {
                    "domain_id": "alice",
                    "role": "host",
                    "resources": {"cpu": "500m", "memory": "1Gi", "bandwidth": "10Mi"},
                    "bandwidth_limits": [{"destination_id": "bob", "limit_kbps": 100}],
                },
            ],
            "alias": "psi",
            "task_id": "job-1-psi",
            "dependencies": [],
            "task_input_config": '{"a": "\\ud83d\\ude00"}',
            "priority": -1,
            "schedule_config": {
                "task_timeout_seconds": 60,
                "resource_reserved_seconds": 30,
                "resource_reallocation_interval_seconds": 15,
            },
            "tolerable": True,
        }
    ],
    "custom_fields": {"project": "x"},
}


def camel(value: Any, *, is_map: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            key if is_map else "".join(part.title() if at else part for at, part in enumerate(key.split("_"))): camel(
                item, is_map=key in ("custom_fields", "custom_headers")
            )
            for key, item in value.items()
        }
    return [camel(item) for item in value] if isinstance(value, list) else value


def yaml_job(tasks: str) -> str:
    return f"job_id: j\ninitiator: alice\ntasks:\n{tasks}"


@pytest.mark.parametrize("change", [lambda request: request, camel], ids=["snake", "camel"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_request_as_json(change: Any, indent: int | None) -> None:
    assert parse_job(json.dumps(change(REQUEST), indent=indent), source="job.json").request == REQUEST


def test_a_request_as_yaml() -> None:
    text = yaml_job("""\
- alias: psi
  app_image: psi
  priority: "100"
  task_input_config: |
    {"rows": 3}
  parties:
  - {domain_id: alice, resources: {cpu: 2, memory: 0.5}, role: null}
""")
    assert parse_job(text, source="job.yaml").request["tasks"] == [
        {
            "alias": "psi",
            "app_image": "psi",
            "priority": 100,
            "task_input_config": '{"rows": 3}\n',
            "parties": [{"domain_id": "alice", "resources": {"cpu": "2", "memory": "0.5"}}],
        }
    ]


def test_a_kuscia_job() -> None:
    assert parse_job(kuscia_documents.KUSCIA_JOB, source="job.yaml").request == {
        "job_id": "job-best-effort-linear",
        "initiator": "alice",
        "max_parallelism": 2,
        "tasks": [
            {
                "alias": "job-psi",
                "task_id": "job-psi-1",
                "priority": 100,
                "task_input_config": '{"sf_input_ids":["alice-table","bob-table"]}',
                "app_image": "secretflow-image",
                "schedule_config": {
                    "task_timeout_seconds": 60,
                    "resource_reserved_seconds": 30,
                    "resource_reallocation_interval_seconds": 15,
                },
                "parties": [
                    {
                        "domain_id": "alice",
                        "role": "host",
                        "resources": {"cpu": "2", "memory": "4Gi"},
                        "bandwidth_limits": [{"destination_id": "bob", "limit_kbps": 1000}],
                    },
                    {"domain_id": "bob"},
                ],
            },
            {
                "alias": "job-split",
                "dependencies": ["job-psi"],
                "tolerable": True,
                "task_input_config": "",
                "app_image": "secretflow-image",
                "parties": [{"domain_id": "alice", "resources": {"cpu": "500m"}}],
            },
        ],
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it holds 0 documents: a job file holds exactly one"),
        ("a: 1\n---\nb: 2\n", "it holds 2 documents"),
        ("- 1", "it holds no job: a CreateJobRequest or a KusciaJob is expected"),
        ('{"job_id": "x",', "it is not valid JSON: line 1, column 16: Expecting property name"),
        ('{"job_id": "x", "job_id": "y"}', 'key "job_id" stands twice in one mapping'),
        ('{"tasks": [{"alias": "a",\t"alias": "b"}]}', 'key "alias" stands twice in one mapping'),
        ('{"kind": "List", "items": []}', "it holds 0 documents"),
        ('{"kind": "List", "items": [{}, {}]}', "it holds 2 documents"),
        ('{"kind": "List"}', 'kind: expected "KusciaJob", not "List"'),
        ("job_id: [", "line 2, column 1"),
        ("job_id: 12", "job_id: expected a string, not 12; put it in quotes"),
        ("job_id: true", "job_id: expected a string, not true; put it in quotes"),
        ("jobid: x\njob_id: y", "field job_id stands twice, in two spellings"),
        ("initator: x", 'field "initator" is unknown: did you mean initiator?'),
        ("zzz: x", 'field "zzz" is unknown: known are header, job_id, initiator'),
        ("max_parallelism: many", 'max_parallelism: expected a whole number, not "many"'),
        ("max_parallelism: 2147483648", "max_parallelism: 2147483648 is out of range: -2147483648 to 2147483647"),
        ("max_parallelism: 1.5", "max_parallelism: expected a whole number, not 1.5"),
        ("max_parallelism: true", "max_parallelism: expected a whole number, not true"),
        ("custom_fields: x", 'custom_fields: expected an object, not "x"'),
        ("custom_fields: {a: 1}", 'custom_fields["a"]: expected a string, not 1'),
        ("tasks: {}", "tasks: expected a list, not an object"),
        (yaml_job("- null"), "tasks[0]: expected a mapping, not null"),
        (yaml_job("- {task_input_config: {a: 1}}"), "config: expected a string, not an object; JSON goes into"),
        (yaml_job("- {}\n- {tolerable: yes}"), 'tasks[1].tolerable: expected true or false, not "yes"'),
        (yaml_job("- {parties: [{domainID: [a]}]}"), "tasks[0].parties[0].domainID: expected a string, not a list"),
        (yaml_job("- {parties: [{resources: {cpu: [1]}}]}"), "cpu: expected a quantity such"),
        (yaml_job("- {parties: [{resources: {limits: 1}}]}"), "limits: expected a mapping, not 1"),
        (yaml_job("- {parties: [{bandwidth_limits: [{limit_kbps: -1}]}]}"), "limits[0].limit_kbps: -1 is out of"),
        ("apiVersion: kuscia.secretflow/v1alpha1\nkind: KusciaTask", 'kind: expected "KusciaJob", not "KusciaTask"'),
        ("apiVersion: kuscia.secretflow/v1alpha1", 'kind: expected "KusciaJob", not null'),
        ("kind: KusciaJob\napiVersion: v1", 'apiVersion: expected "kuscia.secretflow/v1alpha1", not "v1"'),
        ("kind: KusciaJob\napiVersion: kuscia.secretflow/v1", "metadata.name: it is missing: it becomes the job_id"),
        (
            "kind: KusciaJob\napiVersion: kuscia.secretflow/v1\nmetadata: {name: a}",
            "spec: expected a mapping with initiator and tasks, not null",
        ),
        (
            "kind: KusciaJob\napiVersion: kuscia.secretflow/v1\nmetadata: {name: a}\nspec: {tasks: [{alias: 1}]}",
            "spec.tasks[0].alias: expected a string, not 1",
        ),
        ("[" * 100_000, "nested deeper than 64 levels"),
        ('{"a":' * 100_000, "it is not valid JSON"),
        (json.dumps({"job_id": 2**70}), "job_id: expected a string, not a number of 71 bits"),
        (json.dumps({"max_parallelism": -(2**70)}), "max_parallelism: a number of 71 bits is out of range"),
        ("initiator: alice\ntasks: .nan", "tasks: expected a list, not"),
    ],
    ids=lambda value: value[:40],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(JobFileError) as caught:
        parse_job(text, source="my-job.yaml")
    assert str(caught.value).startswith("my-job.yaml: ")
    assert problem in str(caught.value)


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(REQUEST))
    assert read_job_file(file).request == REQUEST
    with pytest.raises(JobFileError, match=r"none\.yaml: it cannot be read: No such file or directory"):
        read_job_file(tmp_path / "none.yaml")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["tasks", "parties", "job_id", "resources", "spec", "kind", "x"]), inner)
        ),
    )
)
def test_any_document_is_read_or_refused(document: object) -> None:
    try:
        job = parse_job(json.dumps(document), source="job.json")
    except JobFileError:
        return
    assert job.request.keys() <= REQUEST.keys()


def custom_resource(spec: str, metadata: str = "") -> str:
    return (
        "apiVersion: kuscia.secretflow/v1alpha1\nkind: KusciaJob\n"
        f"metadata: {{name: j{metadata}}}\nspec:\n  initiator: alice\n{spec}"
    )


TASK = "  tasks:\n  - {alias: t, appImage: a, taskInputConfig: '{}', parties: [{domainID: alice%s}]}\n"


def test_limits_of_the_custom_resource_become_resources_and_what_they_overrule_is_told() -> None:
    limits = '{"cpu": 2, "memory": "4Gi", "kuscia.io/bandwidth": "10"}'
    requests = '{"cpu": 1, "memory": "4Gi", "kuscia.io/bandwidth": "10"}'
    resources = f"{{limits: {limits}, requests: {requests}}}"
    bandwidth = "[{destinationID: bob, limitKBps: 7}]"
    text = custom_resource(TASK % f", resources: {resources}, bandwidthLimits: {bandwidth}")
    job = parse_job(text, source="bw.yaml")
    assert job.request["tasks"][0]["parties"] == [
        {
            "domain_id": "alice",
            "resources": {"cpu": "2", "memory": "4Gi", "bandwidth": "10"},
            "bandwidth_limits": [{"destination_id": "bob", "limit_kbps": 7}],
        }
    ]
    assert job.ignored == ("spec.tasks[0].parties[0].resources.requests.cpu (the limit counts)",)


@pytest.mark.parametrize("kind", ["List", "KusciaJobList"])
def test_one_job_in_a_list_is_that_job(kind: str) -> None:
    (document,) = parse_documents(kuscia_documents.KUSCIA_JOB)
    text = json.dumps({"apiVersion": "v1", "kind": kind, "metadata": {"resourceVersion": ""}, "items": [document]})
    assert parse_job(text, source="a") == parse_job(kuscia_documents.KUSCIA_JOB, source="b")


def test_labels_of_the_custom_resource_become_custom_fields() -> None:
    labels = ", labels: {kuscia.job.custom-fields/project: x, kuscia.job.custom-fields/empty: null, team: y}"
    job = parse_job(custom_resource(TASK % "", labels), source="job.yaml")
    assert job.request["custom_fields"] == {"project": "x", "empty": ""}
    assert job.ignored == ("metadata.labels.team",)


def test_a_strict_job_says_so_in_its_header_and_a_best_effort_one_says_nothing() -> None:
    strict = parse_job(custom_resource("  scheduleMode: Strict\n" + TASK % ""), source="strict.yaml")
    assert strict.request["header"] == {"custom_headers": {"schedule_mode": "Strict"}}
    plain = parse_job(custom_resource("  scheduleMode: BestEffort\n" + TASK % ""), source="job.yaml")
    assert "header" not in plain.request
    with pytest.raises(JobFileError, match=r'scheduleMode: expected BestEffort or Strict, not "strict"'):
        parse_job(custom_resource("  scheduleMode: strict\n" + TASK % ""), source="job.yaml")


def test_all_that_has_no_effect_is_one_warning() -> None:
    spec = "  stage: Start\n  flowID: f\n" + TASK % ', resources: {limits: {"nvidia.com/gpu": 1}}'
    job = parse_job(custom_resource(spec, ", annotations: {a: b}, namespace: cross-domain") + "extra: 1\n", source="j")
    assert job.warning == (
        'without effect here: "extra", "metadata.annotations", "spec.stage", "spec.flowID", '
        '"spec.tasks[0].parties[0].resources.limits.nvidia.com/gpu"'
    )
    many = parse_job(
        custom_resource(TASK % "", f", labels: {{{', '.join(f'l{n}: x' for n in range(30))}}}"), source="j"
    )
    assert many.warning.endswith(" and 10 more")
    assert parse_job(custom_resource(TASK % ""), source="j").warning == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("job_id: {{.JOB_NAME}}\ninitiator: alice\n", 'put a value in the place of "{{.JOB_NAME}}" and the like'),
        ('job_id: "{{.JOB_NAME}}"\ninitiator: alice\n', 'job_id: "{{.JOB_NAME}}" has not been filled in yet'),
        (
            yaml_job('- {parties: [{domain_id: "{{ .ALICE }}"}]}'),
            'tasks[0].parties[0].domain_id: "{{ .ALICE }}" has not',
        ),
        (
            custom_resource(TASK % "").replace("name: j", 'name: "{{.X}}"'),
            'job_id: "{{.X}}" has not been filled in yet',
        ),
    ],
)
def test_a_template_that_nobody_has_filled_in_is_called_one(text: str, problem: str) -> None:
    with pytest.raises(JobFileError) as caught:
        parse_job(text, source="job.yaml")
    assert problem in str(caught.value)


def test_an_input_config_may_hold_references_of_its_own() -> None:
    job = parse_job(yaml_job("- {alias: t, task_input_config: '{{.X}}'}"), source="job.yaml")
    assert job.request["tasks"][0]["task_input_config"] == "{{.X}}"


def test_all_that_is_wrong_is_told_at_once_with_its_place_in_the_file() -> None:
    text = custom_resource(
        "  tasks:\n"
        "  - alias: 1\n"
        "    appImge: a\n"
        "    parties:\n"
        "    - 7\n"
        '    - {domainID: "{{.X}}", resources: {cpu: [1]}}\n'
    )
    with pytest.raises(JobFileError) as caught:
        parse_job(text, source="job.yaml")
    find = places_in(text)
    assert [(problem.field, *find(problem.field)) for problem in caught.value.problems] == [
        ("spec.tasks[0].alias", 7, 5),
        ("spec.tasks[0].appImge", 8, 5),
        ("spec.tasks[0].parties[0]", 10, 7),
        ("spec.tasks[0].parties[1].resources.cpu", 11, 40),
        ("tasks[0].parties[1].domain_id", 11, 8),
    ]
    for word in (
        "expected a string",
        '"appImge" is unknown',
        "parties[0]: expected a mapping",
        "not been filled",
    ):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("job_id", (3, 12)),
        ("initiator", (5, 3)),
        ("tasks[0].app_image", (6, 22)),
        ("tasks[0].parties[0].domain_id", (6, 55)),
        ("tasks[0].dependencies[3]", (6, 11)),
        ("tasks[9]", (6, 3)),
        ('custom_fields["a"]', (3, 1)),
        ("", (1, 1)),
    ],
)
def test_a_field_of_the_request_is_found_in_a_custom_resource(field: str, place: tuple[int, int]) -> None:
    text = custom_resource("  tasks: [{alias: t, appImage: a, parties: [{role: r, domainID: alice}]}]\n")
    assert places_in(text)(field) == place


def test_places_are_found_in_json_with_tabs_and_surrogate_pairs_and_in_a_list() -> None:
    text = '{\n\t"job_id": "\\ud83d\\ude00",\n\t"tasks": [{},\n\t\t{"taskId": "a\\/b"}]\n}'
    assert [places_in(text)(field) for field in ("job_id", "tasks[1].task_id")] == [(2, 2), (4, 4)]
    listed = '{"kind": "List",\n"items": [\n{"job_id": "a",\n"initiator": "b"}]}'
    assert places_in(listed)("initiator") == (4, 1)
    assert places_in("[" * 100_000)("job_id") == (0, 0)
    assert places_in("a: 1\n---\nb: 2")("b") == (0, 0)
