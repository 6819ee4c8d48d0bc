"""The messages and stubs of kusciajob.v1, under a name that stays: `v1.WatchJobsRequest`, `v1.JobsServiceStub`."""

# ruff: noqa: F403, PLC0414 - the names are there for others

from kusciajob._gen.kusciajob.v1.app_images_pb2 import *
from kusciajob._gen.kusciajob.v1.app_images_pb2_grpc import AppImagesServiceStub as AppImagesServiceStub
from kusciajob._gen.kusciajob.v1.jobs_pb2 import *
from kusciajob._gen.kusciajob.v1.jobs_pb2_grpc import JobsServiceStub as JobsServiceStub
from kusciajob._gen.kusciajob.v1.server_pb2 import *
from kusciajob._gen.kusciajob.v1.server_pb2_grpc import ServerServiceStub as ServerServiceStub
