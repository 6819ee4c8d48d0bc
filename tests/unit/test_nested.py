"""A message that is put into another as bytes is what protobuf would have made of it."""

import pytest
from google.protobuf.descriptor_pb2 import FileOptions

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.wire.nested import nested, tag_of


@pytest.mark.parametrize("characters", [0, 1, 100, 122, 123, 200, 16_377, 16_378, 100_000, 3_000_000])
def test_a_nested_message_reads_as_if_protobuf_had_written_it(characters: int) -> None:
    inner = pb.JobStatus(job_id="x" * characters)
    wanted = pb.WatchJobEventResponse(type=pb.ADDED, object=inner)
    field = nested(tag_of(pb.WatchJobEventResponse, "object"), inner.SerializeToString())
    assert pb.WatchJobEventResponse(type=pb.ADDED).SerializeToString() + field == wanted.SerializeToString()


def test_a_field_whose_tag_takes_two_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="php_class_prefix"):
        tag_of(FileOptions, "php_class_prefix")
