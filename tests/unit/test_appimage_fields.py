"""What an AppImage says in vain is told by name, whatever else is in the document."""

from typing import Any

import pytest

from kusciajob.files.yaml import parse_documents
from kusciajob.images.fields import without_effect
from tests.support import kuscia_documents


def document(*, spec: Any = None, pod: Any = None, **container: Any) -> dict[str, Any]:
    template = {"name": "a", "spec": {"containers": [{"name": "a", "command": ["a"], **container}], **(pod or {})}}
    return {"metadata": {"name": "a"}, "spec": {"deployTemplates": [template], **(spec or {})}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (document(), ""),
        (document(imagePullPolicy="Always", image="x"), ""),
        (document(pod={"restartPolicy": "OnFailure"}), ""),
        (document(pod={"restartPolicy": "Always"}), "restartPolicy Always"),
        (document(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]), "env.valueFrom"),
        (document(envFrom=[{"configMapRef": {"name": "x"}}], startupProbe={"exec": {}}), "envFrom, startupProbe"),
        (document(resources={"limits": {"cpu": 1}}, livenessProbe={"exec": {}}), "resources, livenessProbe"),
        (document(resources={}, envFrom=[], securityContext=None), ""),
        (document(comand=["typo"]), "comand"),
        (document(spec={"registry": {}, "selector": {"a": "b"}}), "selector"),
        (document(pod={"affinity": {"nodeAffinity": {}}}), "affinity"),
        (document(command=["a", "-a {{.CLUSTER_IP}}"]), "{{.CLUSTER_IP}} in command"),
        (document(env=[{"name": "A", "value": "{{.B}}"}]), "{{.B}} in env"),
        (document(ports=[{"name": "a", "hostPort": 1}]), "ports.hostPort"),
        (document(**{f"x{number}": 1 for number in range(30)}), ", ".join(f"x{n}" for n in range(20)) + " and 10 more"),
        (None, ""),
        ([], ""),
        ({"spec": [1]}, ""),
        ({"spec": {"deployTemplates": [None, 1, {"spec": {"containers": {"a": 1}}}]}}, ""),
    ],
)
def test_fields_without_effect(given: Any, expected: str) -> None:
    assert without_effect(given) == expected


def test_the_usual_documents_say_little_in_vain() -> None:
    (secretflow,) = parse_documents(kuscia_documents.SECRETFLOW)
    (psi,) = parse_documents(kuscia_documents.PSI)
    assert (without_effect(secretflow), without_effect(psi)) == ("securityContext", "")
