"""How a test has a call end, whatever it would have come to."""

from google.rpc import code_pb2


class Broken(Exception):
    """The call ends with that status of gRPC (a name, such as UNAVAILABLE), or without any: its connection is cut."""

    def __init__(self, status: str, text: str, *, cuts: bool = False, kuscia_code: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.cuts = cuts
        self.kuscia_code = kuscia_code

    @property
    def number(self) -> int:
        """Of the status."""
        return code_pb2.Code.Value(self.status)  # type: ignore[arg-type,return-value,unused-ignore]  # untyped library
