"""Requests to Kuscia's AppImageService, and clients of it."""

from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2 as pb


def app_image_request(name: str, command: Sequence[str] = ("engine", "--verbose")) -> dict[str, Any]:
    """As JSON: everything that a request can have, in a form that is told again as it was given."""
    probe = {
        "initial_delay_seconds": 1,
        "timeout_seconds": 2,
        "period_seconds": 3,
        "success_threshold": 1,
        "failure_threshold": 4,
        "termination_grace_period_seconds": "30",
    }
    headers = [{"name": "X-Secret", "value": "of-header"}]
    http_get = {"path": "/", "port": "8080", "host": "h", "scheme": "HTTPS", "http_headers": headers}
    container = {
        "name": "main",
        "command": list(command),
        "args": ["-v"],
        "working_dir": "/work",
        "config_volume_mounts": [{"mount_path": "/work/conf/task.json", "sub_path": "task.json"}],
        "ports": [{"name": "peer", "protocol": "GRPC", "scope": "Cluster"}],
        "env_from": [{"prefix": "P_", "config_map_ref": {"name": "m"}, "secret_ref": {"name": "s"}}],
        "env": [{"name": "SECRET", "value": "of-env"}],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "64Mi"}},
        "liveness_probe": {"http_get": http_get, **probe},
        "readiness_probe": {"tcp_socket": {"port": "peer", "host": ""}, **probe},
        "startup_probe": {"grpc": {"port": 80, "service": "s"}, **probe},
        "image_pull_policy": "IfNotPresent",
    }
    template = {
        "name": "engine",
        "role": "client,server",
        "replicas": 2,
        "restart_policy": "Never",
        "containers": [container],
    }
    return {
        "name": name,
        "image": {"name": "engine", "tag": "1.0", "id": "abc", "sign": "s"},
        "config_templates": {"task.json": '{"task": "{{.TASK_ID}}"}'},
        "deploy_templates": [template],
    }


def shell_request(name: str, script: str) -> pb.CreateAppImageRequest:
    """An AppImage that runs a shell script, for parties of any role."""
    container = pb.Container(name="main", command=["sh", "-c", script], working_dir="/work")
    return pb.CreateAppImageRequest(
        name=name,
        image=pb.AppImageInfo(name=name, tag="1"),
        deploy_templates=[pb.DeployTemplate(name=name, replicas=1, containers=[container])],
    )


def create_request(name: str) -> pb.CreateAppImageRequest:
    """That of app_image_request."""
    return json_format.ParseDict(app_image_request(name), pb.CreateAppImageRequest())
