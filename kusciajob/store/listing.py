"""What lists look for in a job, as a store writes it down beside the job: see JobStore.select."""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from msgspec.json import Decoder, Encoder

from kusciajob.model.job import NO_TRAITS, Traits
from kusciajob.model.status import Job, JobPhase
from kusciajob.store import kept

_encode = Encoder().encode
_decode_phase = Decoder(JobPhase).decode
_decode_traits = Decoder(Traits).decode


class Listing(NamedTuple):
    """What a list looks for in a job, in the order of the table's columns, but the number, `created` and `lag`."""

    state: str
    ended: float | None
    deadline: float | None
    expires: float | None
    phase: str
    traits: str


class Listed(NamedTuple):
    """A job as it is to be listed."""

    row: Listing
    facets: list[int]
    created_at: float
    """Its own time."""


@lru_cache(4096)
def facet(kind: str, *texts: str) -> int:
    """The number that stands for a property. Two can share one by chance: a job that is found is looked at."""
    data = "\0".join((kind, *texts)).encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), signed=True)


def facets(domains: Iterable[str], traits: Traits) -> list[int]:
    """All of a job, sorted; each domain is to be named once."""
    found = [facet("party", domain) for domain in domains]
    found += [facet("image", image) for image in traits.app_images]
    found += [facet("field", *field) for field in traits.custom_fields.items()]
    found += [facet("label", *label) for label in traits.labels.items()]
    found.sort()
    return found


def listed(job: Job) -> Listed:
    """A job as it is to be listed."""
    status, traits = job.status, job.spec.traits
    spec = job.spec
    row = Listing(
        str(status.phase.state),
        status.phase.ended_at,
        kept.deadline(status.phase, status.began_at, spec.deadline_seconds),
        kept.expiry(status.phase, spec.ttl_seconds),
        phase_json(status.phase),
        traits_json(traits),
    )
    return Listed(row, facets(status.domains, traits), status.created_at)


def phase_json(phase: JobPhase) -> str:
    """As it is stored."""
    return _encode(phase).decode()


def traits_json(traits: Traits) -> str:
    """As they are stored."""
    return _encode(traits).decode()


def phase_of(data: Any) -> JobPhase | None:
    """A stored phase; None where there is none. ValueError, TypeError, MsgspecError: it is damaged."""
    return None if data is None else _decode_phase(data)


def traits_of(data: Any) -> Traits:
    """Stored traits, none where there are none. ValueError, TypeError, MsgspecError: they are damaged."""
    return NO_TRAITS if data is None else _decode_traits(data)
