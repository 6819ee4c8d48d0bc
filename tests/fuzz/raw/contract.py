"""What every answer must be, whatever was asked: section 2 of the contract."""

from typing import Any

from google.protobuf.descriptor import MethodDescriptor

UNREADABLE = 11101
"""Over HTTP also what cannot be parsed; else a fault of the server."""
OF_ALL = {0, 11100, 11102}
OF_ITS_OWN = {
    "CreateJob": {11201},
    "QueryJob": {11202},
    "BatchQueryJobStatus": {11203},
    "DeleteJob": {11204},
    "StopJob": {11205},
    "ApproveJob": {11206},
    "SuspendJob": {11207, 11210},
    "RestartJob": {11208, 11211},
    "CancelJob": {11209},
    "CreateAppImage": {13100, 13106},
    "QueryAppImage": {13105},
    "UpdateAppImage": {13102, 13105},
    "DeleteAppImage": {13103},
    "BatchQueryAppImage": {13105},
    "QueryLog": {13200},
    "QueryPodNode": {13201},
    "WatchJob": set[int](),
    "healthZ": set[int](),
}


def check_answer(method: MethodDescriptor, answer: Any) -> None:
    """One of the method's own codes, its text, and data only with success."""
    if method.name == "WatchJob":
        assert answer.object.job_id
        return
    code, text = answer.status.code, answer.status.message
    assert code in OF_ALL | OF_ITS_OWN[method.name], answer
    assert (code == 0) == (text == "success"), answer
    assert text
    assert "Traceback" not in text, answer
    if code:
        assert [field.name for field, _ in answer.ListFields()] == ["status"], answer
