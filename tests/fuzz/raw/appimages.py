"""The AppImage loader: a directory with one file."""

from kusciajob.images.catalog import AppImageCatalog
from kusciajob.model.errors import UnknownAppImage
from tests.fuzz.raw.files import file_of
from tests.fuzz.raw.texts import check_text

_MINIMAL = """\
apiVersion: kuscia.secretflow/v1alpha1
kind: AppImage
metadata: {name: a}
spec: {deployTemplates: [{spec: {containers: [{command: [a]}]}}]}
"""
_WHOLE = """\
apiVersion: kuscia.secretflow/v1alpha1
kind: AppImage
metadata:
  name: engine
spec:
  image: {name: engine, tag: "1.0", id: abc, sign: s}
  configTemplates:
    task.json: '{"task": "{{.TASK_ID}}"}'
    other: |
      text
  deployTemplates:
    - name: engine
      role: "client, server"
      replicas: 2
      spec:
        restartPolicy: Never
        containers:
          - name: main
            command: [engine, --config, ./conf/task.json]
            args: ["-v"]
            workingDir: /work
            env: [{name: LEVEL, value: info}, {name: FROM, valueFrom: {fieldRef: x}}]
            ports: &ports [{name: peer, port: 80, protocol: TCP, scope: Cluster}, {name: own}]
            configVolumeMounts: [{mountPath: conf/task.json, subPath: task.json}]
            resources: {limits: {cpu: 1}}
          - {name: side, args: [side], configVolumeMounts: [{mountPath: /etc/other, subPath: other}]}
"""


def run(data: bytes) -> None:
    """AppImages that can be asked for, or a text that tells why there is none."""
    with file_of(data, name="any.yaml") as file:
        catalog = AppImageCatalog(file.parent)
        for name in catalog.names():
            assert catalog.get(name).template_for("").containers
        for name in ("a", "engine"):
            try:
                assert catalog.get(name).name == name
            except UnknownAppImage as error:
                check_text(error)


def seeds() -> list[bytes]:
    other = "a: &a [1, 2.5, true, null, ~]\nb: *a\nc: {<<: {d: 'e'}}\nf: >-\n  g\n"
    return [text.encode() for text in (_MINIMAL, _WHOLE, f"{_MINIMAL}---\n{_MINIMAL}---\n{other}", other)]
