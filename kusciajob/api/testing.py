"""The messages and stubs of kusciajob.testing.v1, under a name that stays."""

# ruff: noqa: F403, PLC0414 - the names are there for others

from kusciajob._gen.kusciajob.testing.v1.control_pb2 import *
from kusciajob._gen.kusciajob.testing.v1.control_pb2_grpc import ControlServiceStub as ControlServiceStub
