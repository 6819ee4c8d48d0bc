"""Kuscia's messages and stubs, under a name that stays: `kuscia.CreateJobRequest`, `kuscia.JobServiceStub`."""

# ruff: noqa: F403, PLC0414 - the names are there for others

from kusciajob._gen.kuscia.proto.api.v1alpha1.common_pb2 import *
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.appimage_pb2 import *
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.appimage_pb2_grpc import (
    AppImageServiceStub as AppImageServiceStub,
)
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.health_pb2 import *
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.health_pb2_grpc import HealthServiceStub as HealthServiceStub
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.job_pb2 import *
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.job_pb2_grpc import JobServiceStub as JobServiceStub
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.log_pb2 import *
from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi.log_pb2_grpc import LogServiceStub as LogServiceStub
