"""Where the cluster is and who we are there: a kubeconfig, or the service account of the pod that we run in.

lightkube reads the file and knows the ways to prove who we are. It was taken for its size: 9 MB with what it needs,
where kubernetes_asyncio has 46 MB and takes 2.6 s to import. Requests and watches are our own.
"""

import asyncio
from contextlib import suppress

import httpx2 as httpx
import msgspec
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import NameValue, User
from lightkube.core.exceptions import ConfigError
from msgspec import structs

from kusciajob.runtime.hosted.engine import EngineUnavailable

EXEC_SECONDS = 60.0
"""How long a plugin for credentials may take."""
_EXEC_V1 = "client.authentication.k8s.io/v1"
_EXEC_V1BETA1 = "client.authentication.k8s.io/v1beta1"


class InvalidKubeconfig(EngineUnavailable):
    """The kubeconfig cannot be used; the text says why."""


class Credentials:
    """How to reach one cluster, and the header that proves who we are. A token that has changed is read again."""

    def __init__(self, config: SingleConfig) -> None:
        """Raises InvalidKubeconfig."""
        user = _usable(config.user)
        self.server = config.cluster.server.rstrip("/")
        try:
            self.tls = verify_cluster(config.cluster, user or User(), config.abs_file) if self._is_secure else None
            self._auth = user_auth(user)
        except (ConfigError, OSError, ValueError) as error:
            raise InvalidKubeconfig(f"the credentials for {self.server} cannot be used: {error}") from None
        self._lock = asyncio.Lock()
        self._header: str | None = None

    @property
    def _is_secure(self) -> bool:
        return self.server.startswith("https://")

    async def header(self, *, refused: str | None = None) -> str | None:
        """The Authorization header; None if there is none. `refused`: a header that the API server did not accept.

        Raises EngineUnavailable.
        """
        if self._auth is None:
            return None
        async with self._lock:
            if self._header is None or self._header == refused:
                self._header = await self._ask(self._auth, is_refused=refused is not None)
            return self._header

    async def _ask(self, auth: httpx.Auth, *, is_refused: bool) -> str | None:
        try:
            async with asyncio.timeout(EXEC_SECONDS):
                flow = auth.async_auth_flow(httpx.Request("GET", self.server))
                request = await anext(flow)
                if is_refused:
                    with suppress(StopAsyncIteration):  # there is no other header
                        request = await flow.asend(httpx.Response(401, request=request))
                await flow.aclose()
        except TimeoutError:
            raise EngineUnavailable(f"the plugin for credentials did not answer within {EXEC_SECONDS:g} s") from None
        except KeyError as error:
            raise EngineUnavailable(f"the plugin for credentials gave no {error}: a token is required") from None
        except (ConfigError, OSError, ValueError) as error:
            raise EngineUnavailable(f"no credentials for {self.server}: {error}") from None
        return request.headers.get("Authorization")


def load(kubeconfig: str = "", context: str = "") -> Credentials:
    """The credentials of a context of a kubeconfig, by default its current one.

    Without a path: those of the pod that we run in; else the file that KUBECONFIG names, or ~/.kube/config. Raises
    InvalidKubeconfig.
    """
    try:
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
        chosen = config.get(context or None)
        if chosen is None:
            raise InvalidKubeconfig("the kubeconfig has no current context: name one")
    except (ConfigError, OSError, KeyError, TypeError, ValueError) as error:
        where = kubeconfig or "the cluster (no service account, no kubeconfig)"
        raise InvalidKubeconfig(f"cannot reach {where}: {error}") from None
    return Credentials(chosen)


def _usable(user: User | None) -> User | None:
    """A plugin of version 1 is asked as one of v1beta1, which is what the library knows; the answers are the same."""
    if user is None or user.exec is None:
        return user
    version = user.exec.apiVersion
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    told = NameValue("KUBERNETES_EXEC_INFO", msgspec.json.encode(info).decode())
    ours = structs.replace(
        user.exec,
        apiVersion=_EXEC_V1BETA1 if version == _EXEC_V1 else version,
        env=[*(user.exec.env or ()), told],
    )
    return structs.replace(user, exec=ours)
