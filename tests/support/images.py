"""AppImages for tests: shell and Python programs that say what they do."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONFIG_PATH = "conf/task.json"


def write_image(
    directory: Path,
    name: str,
    command: Sequence[str],
    *,
    ports: Sequence[str] = (),
    image_name: str = "",
    **container: Any,
) -> None:
    """Register a program that finds its rendered config at `conf/task.json`; its image, where it needs one, is
    `<image_name>:1`."""
    image = {
        "apiVersion": "kuscia.secretflow/v1alpha1",
        "kind": "AppImage",
        "metadata": {"name": name},
        "spec": {
            "image": {"name": image_name or name, "tag": "1"},
            "configTemplates": {
                "task.json": json.dumps(
                    {
                        "task_id": "{{.TASK_ID}}",
                        "input": "{{.TASK_INPUT_CONFIG}}",
                        "cluster": "{{.TASK_CLUSTER_DEFINE}}",
                        "ports": "{{.ALLOCATED_PORTS}}",
                    }
                )
            },
            "deployTemplates": [
                {
                    "name": name,
                    "replicas": 1,
                    "spec": {
                        "containers": [
                            {
                                "name": "main",
                                "command": list(command),
                                "workingDir": "/work",
                                "configVolumeMounts": [{"mountPath": "/work/conf/task.json", "subPath": "task.json"}],
                                "ports": [{"name": port, "protocol": "TCP", "scope": "Cluster"} for port in ports],
                                **container,
                            }
                        ]
                    },
                }
            ],
        },
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.yaml").write_text(json.dumps(image))  # YAML is a superset of JSON


def shell_image(name: str, script: str, configs: Mapping[str, str] = {}, **deploy: Any) -> dict[str, Any]:
    """The document of an AppImage that runs a shell script in /w, where its config files are; `deploy` has fields of
    its deploy template, `restart_policy` that of its pod."""
    mounts = [{"mountPath": f"/w/{key}", "subPath": key} for key in configs]
    container = {"name": "main", "workingDir": "/w", "command": ["sh", "-c", script], "configVolumeMounts": mounts}
    pod = {"containers": [container], "restartPolicy": deploy.pop("restart_policy", "Never")}
    return {
        "apiVersion": "kuscia.secretflow/v1alpha1",
        "kind": "AppImage",
        "metadata": {"name": name},
        "spec": {"configTemplates": dict(configs), "deployTemplates": [{"name": name, "spec": pod, **deploy}]},
    }


def write_images(directory: Path, documents: Sequence[dict[str, Any]]) -> None:
    """Register them, in one file."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "all.json").write_text(json.dumps({"kind": "List", "items": list(documents)}))


def python_program(source: str) -> list[str]:
    """A command that runs Python source with the tests' interpreter."""
    return [sys.executable, "-S", "-c", source]
