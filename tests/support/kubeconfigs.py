"""Kubeconfigs for tests."""

from pathlib import Path
from typing import Any

import yaml
from lightkube.config.kubeconfig import KubeConfig

from kusciajob.runtime.kubernetes.credentials import Credentials


def credentials_for(url: str) -> Credentials:
    """Credentials for a server that wants none."""
    config = KubeConfig.from_server(url).get()
    assert config
    return Credentials(config)


def write_kubeconfig(file: Path, url: str, **user: Any) -> Path:
    """A kubeconfig with one context."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(yaml.safe_dump(content))
    return file
