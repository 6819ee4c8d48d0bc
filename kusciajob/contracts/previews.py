"""What a runtime would start."""

from typing import Protocol

from msgspec import Struct

from kusciajob.contracts.parties import PartySpec


class ProgramPreview(Struct, frozen=True):
    """What one container of a party would execute.

    Of the environment and of config files only names and paths: their values can be secret. A reference to a variable
    stands in the command line as it is, `$(NAME)`.
    """

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    working_dir: str
    environment_names: tuple[str, ...]
    config_paths: tuple[str, ...]
    cpu_limit: str
    memory_limit: str


class PartyPreview(Struct, frozen=True):
    """What a party would execute; no programs where the runtime needs no AppImage."""

    deploy_template: str = ""
    replicas: int = 1
    programs: tuple[ProgramPreview, ...] = ()


class ConfigFile(Struct, frozen=True):
    """A config file of a party's program, by its path in the AppImage, without secrets."""

    container: str
    path: str
    text: str


class Previewer(Protocol):
    """A runtime, asked what it would start."""

    def preview(self, party: PartySpec) -> PartyPreview:
        """What would be executed for a party, which has no endpoints yet. Nothing is started, reserved or written.

        Raises StartFailed where the start would. It reads files and may take long: not for the event loop.
        """

    def config_files(self, party: PartySpec) -> tuple[ConfigFile, ...]:
        """The config files of the party's first replica, with likely addresses where it has none yet; see `preview`."""
