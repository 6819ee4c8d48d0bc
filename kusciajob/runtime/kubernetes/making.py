"""Makes what a workload is on a cluster: the anchor that owns it all, the pod at its gate, and what the pod needs."""

import re
from contextlib import suppress
from typing import Any

from msgspec import Struct

from kusciajob.contracts import StartFailed
from kusciajob.runtime.domains import DomainSettings
from kusciajob.runtime.hosted import labels
from kusciajob.runtime.hosted.engine import EngineUnavailable, Workload
from kusciajob.runtime.kubernetes import objects, pods
from kusciajob.runtime.kubernetes.api import Api, ApiError, Conflict, NotFound
from kusciajob.runtime.kubernetes.board import Place
from kusciajob.runtime.kubernetes.pods import Pod
from kusciajob.runtime.kubernetes.watch import Metadata

POLICIES = "/apis/networking.k8s.io/v1"
_USED = re.compile(r" used: [^ ]+,")


class Named(Struct, frozen=True):
    """Any object, of which only the name counts."""

    metadata: Metadata = Metadata()


class Maker:
    """Makes objects, each of which may be there already."""

    def __init__(self, api: Api, rules: objects.Rules, *, creates_namespaces: bool) -> None:
        self._api = api
        self._rules = rules
        self._creates_namespaces = creates_namespaces
        self._anchors: dict[Place, str] = {}
        """The uid of each anchor that was made and is in use."""

    async def make(self, workload: Workload, place: Place) -> str:
        """Make all of a workload, and return the uid of its pod. Raises StartFailed.

        EngineUnavailable is raised for what can pass, too, such as a quota: it may be tried again.
        """
        manifest, companions = objects.pod(workload, self._rules), objects.companions(workload)
        try:
            anchor_uid = await self._anchor_of(place, workload)
            own = {"anchor_name": place.task, "anchor_uid": anchor_uid}
            # First the pod: where a quota refuses it, nothing else was asked for. It does not run yet.
            uid = await self._make_pod(place.namespace, objects.owned(manifest, **own))
            for plural, companion in companions:
                root = POLICIES if plural == "networkpolicies" else "/api/v1"
                with suppress(Conflict):
                    path = f"{root}/namespaces/{place.namespace}/{plural}"
                    await self._api.create(path, objects.owned(companion, **own), Named)
        except ApiError as error:
            if error.is_quota:
                raise EngineUnavailable(f"namespace {place.namespace}: {_quota_text(str(error))}") from None
            raise StartFailed(f"the cluster refuses the party's pod: {pods.plain(str(error))}") from None
        return uid

    def forget(self, place: Place) -> None:
        """The anchor of that place is going to be removed."""
        self._anchors.pop(place, None)

    async def _anchor_of(self, place: Place, workload: Workload) -> str:
        """The uid of the task's anchor in the namespace, which is made if need be."""
        if place not in self._anchors:
            path = f"/api/v1/namespaces/{place.namespace}/configmaps"
            manifest = objects.anchor(workload)
            try:
                made = await self._api.create(path, manifest, Named)
            except Conflict:
                made = await self._api.get(f"{path}/{place.task}", Named)
            except NotFound:
                await self._make_namespace(place.namespace, workload.domain)
                made = await self._api.create(path, manifest, Named)
            self._anchors[place] = made.metadata.uid
        return self._anchors[place]

    async def _make_namespace(self, namespace: str, domain: DomainSettings) -> None:
        if not self._creates_namespaces:
            raise StartFailed(
                f"namespace {namespace} of domain {domain.domain_id} does not exist: make it, or let the server do so "
                "(setting create_namespaces)"
            )
        with suppress(Conflict):
            await self._api.create("/api/v1/namespaces", objects.namespace(namespace), Named)

    async def _make_pod(self, namespace: str, manifest: objects.Manifest) -> str:
        path = f"/api/v1/namespaces/{namespace}/pods"
        own: dict[str, Any] = manifest["metadata"]
        try:
            return (await self._api.create(path, manifest, Named)).metadata.uid
        except Conflict:
            found = await self._api.get(f"{path}/{own['name']}", Pod)
            if any(found.metadata.labels.get(label) != own["labels"][label] for label in (labels.STORE, labels.GROUP)):
                raise StartFailed(
                    f"pod {own['name']} exists in namespace {namespace} and is not this server's"
                ) from None
            return found.metadata.uid


def _quota_text(message: str) -> str:
    """The refusal without the names of what was refused, and without what changes while one waits."""
    found = re.search(r"exceeded quota: .*", message, re.DOTALL)
    return pods.plain(_USED.sub("", found[0] if found else message))
