"""The call of JobsService that tells a party's config files."""

from kusciajob._gen.kusciajob.v1 import jobs_pb2 as pb
from kusciajob.usecases.callers import Caller
from kusciajob.usecases.task_config import TaskConfigs
from kusciajob.wire.v1.pages import MAX_PAGE_BYTES

_BYTES_PER_CHARACTER = 4
_MOST_CHARACTERS = MAX_PAGE_BYTES // _BYTES_PER_CHARACTER


class TaskConfigCalls:
    """GetTaskConfig."""

    def __init__(self, configs: TaskConfigs) -> None:
        self._configs = configs

    async def GetTaskConfig(self, request: pb.GetTaskConfigRequest, caller: Caller) -> pb.GetTaskConfigResponse:
        found = await self._configs.of(
            request.job_id, alias=request.alias, domain_id=request.domain_id, role=request.role, caller=caller
        )
        party = found.party
        response = pb.GetTaskConfigResponse(
            alias=found.alias, domain_id=party.domain_id, role=party.role, problem=found.problem
        )
        room = _MOST_CHARACTERS
        for file in found.files:
            text = file.text[:room]
            room -= len(text)
            response.files.add(container=file.container, path=file.path, text=text, is_cut=len(text) < len(file.text))
        return response
