"""The rules by which a test tells what programs do."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from kusciajob.contracts import PartyKey, PartySpec
from kusciajob.model.text import listed, shown
from kusciajob.runtime.scripts import Script

MAX_RULES = 10_000
_SHOWN_PARTIES = 10


class Selector(Struct, frozen=True):
    """Parties of tasks: patterns, of which an empty one matches all; attempt 0 matches all."""

    job_id: str = ""
    task: str = ""
    app_image: str = ""
    domain: str = ""
    role: str = ""
    attempt: int = 0

    def matches(self, party: PartySpec) -> bool:
        return (
            (not self.attempt or self.attempt == party.key.attempt)
            and _fits(self.task, party.task.alias)
            and _fits(self.domain, party.party.domain_id)
            and _fits(self.job_id, party.spec.job_id)
            and _fits(self.app_image, party.task.app_image)
            and _fits(self.role, party.party.role)
        )

    def __str__(self) -> str:
        given = [f"{name} {shown(getattr(self, name))}" for name in self.__struct_fields__ if getattr(self, name)]
        return ", ".join(given) or "any party"


class Rule(Struct):
    """What the parties do that it selects."""

    where: Selector
    script: Script
    is_optional: bool = False
    has_matched: bool = False


class Rules:
    """A Director that follows the first rule that matches."""

    def __init__(self, on_hold: Callable[[], None]) -> None:
        self._rules: list[Rule] = []
        self._domains: dict[str, None] = {}
        self._on_hold = on_hold

    def set(self, rules: Sequence[Rule], *, append: bool = False) -> None:
        """A rule for the same parties as one that has matched has matched too."""
        matched = {rule.where for rule in self._rules if rule.has_matched}
        for rule in rules:
            rule.has_matched = rule.where in matched
        self._rules = [*(self._rules if append else ()), *rules]

    def __len__(self) -> int:
        return len(self._rules)

    def clear(self) -> None:
        self._rules.clear()
        self._domains.clear()

    def script_of(self, party: PartySpec) -> Script | None:
        self._domains.setdefault(party.party.domain_id)
        for rule in self._rules:
            if rule.where.matches(party):
                rule.has_matched = True
                return rule.script
        return None

    def note_hold(self, key: PartyKey) -> None:
        self._on_hold()

    def problems(self) -> list[str]:
        """Of the rules that never matched."""
        return [
            f"rule {number} ({rule.where}) never matched{self._why(rule.where)}"
            for number, rule in enumerate(self._rules, start=1)
            if not rule.has_matched and not rule.is_optional
        ]

    def _why(self, where: Selector) -> str:
        if not self._domains:
            return ": no task was started"
        if where.domain and not any(_fits(where.domain, domain) for domain in self._domains):
            known = listed([shown(domain) for domain in self._domains][:_SHOWN_PARTIES])
            return f": no job has a party {shown(where.domain)}, only {known}"
        return ""


def _fits(pattern: str, text: str) -> bool:
    return not pattern or pattern == text or fnmatchcase(text, pattern)
