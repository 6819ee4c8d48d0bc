"""The job file loader, as `kusciajob create` uses it."""

from kusciajob.cli.errors import CommandError
from kusciajob.cli.job_request import read_request
from kusciajob.model.errors import InvalidJob
from kusciajob.wire import codec
from tests.fuzz.raw.files import file_of
from tests.fuzz.raw.texts import check_text

_JSON = """\
{"job_id": "j", "initiator": "alice", "maxParallelism": "2", "custom_fields": {"k": "v"}, "tasks": [{"alias": "a",
"app_image": "any", "parties": [{"domain_id": "alice", "role": "client", "resources": {"cpu": "1"},
"bandwidth_limits": [{"destination_id": "bob", "limit_kbps": 18446744073709551615}]}], "priority": -1,
"schedule_config": {"task_timeout_seconds": 1}, "tolerable": true, "task_input_config": "{}", "task_id": "t"}]}
"""
_YAML = """\
job_id: j
initiator: alice
header: {custom_headers: {a: b}}
tasks:
  - alias: a
    app_image: any
    parties: [{domain_id: alice, resources: {cpu: 0.5, memory: 4Gi, bandwidth: 1e3}}]
  - alias: b
    app_image: any
    dependencies: [a]
    parties: [{domain_id: alice}]
"""
_RESOURCE = """\
apiVersion: kuscia.secretflow/v1alpha1
kind: KusciaJob
metadata: {name: j}
spec:
  initiator: alice
  scheduleMode: BestEffort
  maxParallelism: 2
  tasks:
    - alias: a
      appImage: any
      taskID: t
      priority: "100"
      scheduleConfig: {minReservedMembers: 1, lifecycleSeconds: 3, retryIntervalSeconds: 4}
      taskInputConfig: '{"a": 1}'
      parties: [{domainID: alice, role: client, resources: {limits: {cpu: 1}, requests: {memory: 1Gi}}}]
"""


def run(data: bytes) -> None:
    """A request that the server can judge, or a CommandError."""
    with file_of(data, name="job.yaml") as file:
        try:
            codec.decode_spec(read_request(file))
        except (CommandError, InvalidJob) as error:
            check_text(error)


def seeds() -> list[bytes]:
    return [text.encode() for text in (_JSON, _YAML, _RESOURCE, "{a: b}", "[]", '{"tasks": [{}]}')]
