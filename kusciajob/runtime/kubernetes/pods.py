"""What a pod tells: whether it waits and why, runs, or how it has ended. Pure functions of what the cluster says."""

import re
from collections.abc import Iterator

from msgspec import Struct, field

from kusciajob.contracts import Node
from kusciajob.runtime.hosted.engine import Phase, Ref, Sighting, nanoseconds
from kusciajob.runtime.kubernetes import objects
from kusciajob.runtime.kubernetes.watch import Metadata

MAX_TEXT_CHARACTERS = 500
OOM_KILLED = "OOMKilled"
_TERMINAL = ("Succeeded", "Failed")
_NOT_FOUND = re.compile(r"not found|manifest unknown|does not exist|\b404\b", re.IGNORECASE)
_LONG_ID = re.compile(r"\b[0-9a-f]{32,}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_NODES = re.compile(r"^(0/\d+) nodes are available: (.*?)(?:\. preemption:.*|\. no new claims.*|\.)?$", re.DOTALL)
_SHORT_OF = re.compile(r"\d+ Insufficient (\S+)")


class _Camel(Struct, frozen=True, rename="camel"):
    pass


class Resources(_Camel, frozen=True):
    limits: dict[str, str | int] = {}
    requests: dict[str, str | int] = {}


class Container(_Camel, frozen=True):
    name: str
    image: str = ""
    resources: Resources = Resources()


class Gate(_Camel, frozen=True):
    name: str


class PodSpec(_Camel, frozen=True):
    node_name: str = ""
    restart_policy: str = "Never"
    scheduling_gates: tuple[Gate, ...] = ()
    containers: tuple[Container, ...] = ()
    active_deadline_seconds: int | None = None


class Condition(_Camel, frozen=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class Waiting(_Camel, frozen=True):
    reason: str = ""
    message: str = ""


class Terminated(_Camel, frozen=True):
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    finished_at: str | None = None


class ContainerState(_Camel, frozen=True):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Camel, frozen=True):
    name: str
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()

    @property
    def is_running(self) -> bool:
        return self.state.waiting is None and self.state.terminated is None

    @property
    def last_end(self) -> Terminated | None:
        """How it ended last."""
        return self.state.terminated or self.last_state.terminated


class PodStatus(_Camel, frozen=True):
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    host_ip: str = field(name="hostIP", default="")
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(_Camel, frozen=True):
    """A pod, as far as we look at it."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ref(self) -> Ref | None:
        """The workload that it is; None if it is none of ours."""
        own = self.metadata
        return objects.ref_of(own.name, own.uid, own.labels, own.annotations)

    @property
    def is_terminal(self) -> bool:
        """Nothing of it runs, and its end is known."""
        return self.status.phase in _TERMINAL

    @property
    def is_gated(self) -> bool:
        """It was never released, and never ran."""
        return bool(self.spec.scheduling_gates)

    @property
    def node(self) -> Node | None:
        """Where it runs."""
        return Node(self.spec.node_name, self.status.host_ip) if self.spec.node_name else None

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((found for found in self.status.conditions if found.type == kind), None)


class InvolvedObject(_Camel, frozen=True):
    name: str = ""
    uid: str = ""


class Event(_Camel, frozen=True):
    """What a part of the cluster tells about a pod."""

    metadata: Metadata = Metadata()
    involved_object: InvolvedObject = InvolvedObject()
    type: str = ""
    reason: str = ""
    message: str = ""


def sighting_of(pod: Pod, ref: Ref, event: str = "") -> Sighting:
    """What is seen of a pod that is there. `event`: what was told of it last that counts while it is being set up."""
    if pod.is_terminal or is_exhausted(pod):
        return _ended(pod, ref)
    if pod.status.phase == "Running":
        return Sighting(ref, Phase.RUNNING, node=pod.node, restarts=_restarts(pod))
    return Sighting(ref, Phase.WAITING, waiting_text(pod, event), node=pod.node)


def lost(pod: Pod, ref: Ref) -> Sighting:
    """What is told of a pod that was to be ended long ago, and whose node does not say that it is."""
    text = (
        f"node {pod.spec.node_name} does not answer any more; what ran there is given up, "
        "and goes on if only its connection is cut"
    )
    return Sighting(ref, Phase.GONE, text, node=pod.node)


def gone(pod: Pod, ref: Ref) -> Sighting:
    """What is told of a pod that has vanished, by what was seen of it last."""
    if pod.is_terminal:
        text = "its pod was deleted"
    elif why := _disruption(pod):
        text = why
    else:
        text = f"its pod was deleted by somebody{f' on node {pod.spec.node_name}' if pod.spec.node_name else ''}"
    return Sighting(ref, Phase.GONE, text, node=pod.node)


def needs_end(pod: Pod) -> bool:
    """Whether a pod that goes on shall be ended: one of its programs has failed for good."""
    if pod.is_terminal or pod.status.phase != "Running":
        return False
    return is_exhausted(pod) or (pod.spec.restart_policy == "Never" and _first_failure(pod) is not None)


def is_exhausted(pod: Pod) -> bool:
    """Whether its program has failed once more than it may be restarted. The cluster would go on for ever."""
    if pod.spec.restart_policy != "OnFailure":
        return False
    most = _max_restarts(pod)
    return any(
        status.restart_count >= most and not status.is_running and (end := status.last_end) and end.exit_code
        for status in pod.status.container_statuses
    )


def waiting_text(pod: Pod, event: str = "") -> str:
    """Why it does not run; "" if that is nothing special."""
    if pod.is_gated:
        return ""
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return _unschedulable(pod, scheduled)
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = status.state.waiting
        if waiting is not None and waiting.reason not in ("", "ContainerCreating", "PodInitializing"):
            return _container_waits(pod, status.name, waiting)
    return event


def event_text(event: Event) -> str | None:
    """What an event tells of a pod that is being set up; None if nothing that counts."""
    message = plain(event.message)
    if event.reason == "Pulling":
        found = re.search(r'"([^"]+)"', event.message)
        return f"pulling image {found[1]}" if found else message
    if event.reason in ("Pulled", "SandboxChanged"):
        return ""
    if event.type != "Warning" or event.reason in ("FailedScheduling", "BackOff", "Failed"):
        return None  # the pod says it itself
    return f"{event.reason}: {message}"


def plain(message: str) -> str:
    """A text on one line, without what differs each time, so that the same is told once."""
    return _LONG_ID.sub("…", " ".join(message.split()))[:MAX_TEXT_CHARACTERS]


def _container_waits(pod: Pod, name: str, waiting: Waiting) -> str:
    message = plain(waiting.message)
    if waiting.reason in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"):
        image = next((found.image for found in pod.spec.containers if found.name == name), name)
        if _NOT_FOUND.search(message):
            return f"image {image}: not found in registry"
        # The second reason repeats the first one after its own words.
        cause = message.rpartition("ErrImagePull: ")[2]
        return f"image {image}: cannot be pulled" + (f": {cause}" if cause and "Back-off" not in cause else "")
    return f"{waiting.reason}: {message}" if message else waiting.reason


def _unschedulable(pod: Pod, condition: Condition) -> str:
    message = plain(condition.message)
    if not (found := _NODES.match(message)):
        return message or condition.reason
    reasons = found[2].rstrip(".")
    short = _SHORT_OF.findall(reasons)
    if short and all(_SHORT_OF.fullmatch(part.strip()) for part in reasons.split(",")):
        return f"{found[1]} nodes have {' and '.join(_asked(pod, name) for name in dict.fromkeys(short))}"
    return f"{found[1]} nodes can run it: {reasons}"


def _asked(pod: Pod, resource: str) -> str:
    amounts = [
        str(amount)
        for container in pod.spec.containers
        if (amount := container.resources.requests.get(resource)) is not None
    ]
    return f"{' + '.join(amounts)} {resource} free" if amounts else f"{resource} free"


def _ended(pod: Pod, ref: Ref) -> Sighting:
    failure = _first_failure(pod)
    text, is_fault = _fault(pod, failure)
    if failure is not None and failure[1].reason == OOM_KILLED:
        limit = next((c.resources.limits.get("memory") for c in pod.spec.containers if c.name == failure[0]), None)
        text, is_fault = f"killed: memory limit {limit}" if limit else "killed: its node is out of memory", False
    code = failure[1].exit_code if failure else 0 if pod.status.phase == "Succeeded" else None
    return Sighting(
        ref,
        Phase.ENDED,
        text,
        node=pod.node,
        exit_code=code,
        ended_at=_ended_at(pod),
        restarts=_restarts(pod),
        is_fault=is_fault,
    )


def _fault(pod: Pod, failure: tuple[str, Terminated] | None) -> tuple[str, bool]:
    """What the cluster has done to a pod that has ended, and whether that was a fault of it."""
    status = pod.status
    if status.reason == "Evicted":
        return f"evicted: {plain(status.message)}", True
    if status.reason == "DeadlineExceeded":
        return ("", False) if failure else ("stopped", False)
    if why := _disruption(pod):
        return why, True
    if _was_deleted_before_its_end(pod):
        return "its pod was deleted by somebody", True
    if status.phase == "Failed" and failure is None:
        return plain(": ".join(filter(None, (status.reason, status.message)))) or "its pod has failed", True
    if failure is not None and failure[1].reason in ("StartError", "ContainerCannotRun"):
        return f"its program cannot be started: {plain(failure[1].message)}", False
    return "", False


def _disruption(pod: Pod) -> str:
    """Why the cluster has taken the pod away; "" if it has not."""
    target = pod.condition("DisruptionTarget")
    if target is None or target.status != "True":
        return ""
    if target.reason == "DeletionByTaintManager":
        return f"node {pod.spec.node_name} was lost, or gave up its pods"
    return f"evicted ({target.reason}): {plain(target.message)}".rstrip(": ")


def _was_deleted_before_its_end(pod: Pod) -> bool:
    own = pod.metadata
    if not own.deletion_timestamp:
        return False
    began = _seconds(own.deletion_timestamp) - own.deletion_grace_period_seconds
    ended = _ended_at(pod)
    return ended is None or ended >= began


def _ends(pod: Pod) -> Iterator[tuple[str, Terminated]]:
    for status in pod.status.container_statuses:
        if (end := status.last_end) is not None:
            yield status.name, end


def _first_failure(pod: Pod) -> tuple[str, Terminated] | None:
    """The container that failed first: others may have been ended because of it."""
    failed = [(name, end) for name, end in _ends(pod) if end.exit_code]
    return min(failed, key=lambda found: _seconds(found[1].finished_at or ""), default=None)


def _ended_at(pod: Pod) -> float | None:
    return max(filter(None, (_seconds(end.finished_at or "") for _, end in _ends(pod))), default=None)


def _restarts(pod: Pod) -> int:
    return max((status.restart_count for status in pod.status.container_statuses), default=0)


def _max_restarts(pod: Pod) -> int:
    text = pod.metadata.annotations.get(objects.MAX_RESTARTS, "")
    return int(text) if text.isdecimal() else 0


def _seconds(time: str) -> float:
    return nanoseconds(time) / 10**9
