"""The contracts between the parts. Implementations live in store/, events/ and runtime/."""

from kusciajob.contracts.clock import Clock
from kusciajob.contracts.events import EventHub, Form, HubClosed, Published, WatchStream
from kusciajob.contracts.output import Arrival, OutputPiece, OutputSource, OutputStream
from kusciajob.contracts.parties import (
    CERTIFICATE_VARIABLES,
    SECRET_NAMES,
    DomainFacts,
    DomainSource,
    ExitResult,
    ImageSource,
    NoCapacity,
    PartyKey,
    PartySpec,
    StartFailed,
)
from kusciajob.contracts.previews import ConfigFile, PartyPreview, Previewer, ProgramPreview
from kusciajob.contracts.runtime import Node, NodeSource, ProgressReport, Runtime, WaitReport
from kusciajob.contracts.store import Census, JobPage, JobStore, Lease, LeaseLost, Leases, StoreHealth

__all__ = [
    "Arrival",
    "CERTIFICATE_VARIABLES",
    "Census",
    "Clock",
    "ConfigFile",
    "DomainFacts",
    "DomainSource",
    "EventHub",
    "ExitResult",
    "Form",
    "HubClosed",
    "ImageSource",
    "JobPage",
    "JobStore",
    "Lease",
    "LeaseLost",
    "Leases",
    "NoCapacity",
    "Node",
    "NodeSource",
    "OutputPiece",
    "OutputSource",
    "OutputStream",
    "PartyKey",
    "PartyPreview",
    "PartySpec",
    "Previewer",
    "ProgramPreview",
    "ProgressReport",
    "Published",
    "Runtime",
    "SECRET_NAMES",
    "StartFailed",
    "StoreHealth",
    "WaitReport",
    "WatchStream",
]
