"""For tests of applications that drive jobs: a server whose programs, time and faults a test controls.

with JobServer() as server:
    server.kuscia.task("train", party="bob").fails(code=3, message="no disk", after="40min")
    server.kuscia.clock.run()
    my_manager(server.address).train("j1")
"""

from kusciajob.testing.assertions import assert_job
from kusciajob.testing.control import KitError
from kusciajob.testing.kit import Call, Clock, Kit
from kusciajob.testing.scripts import Gate, Tasks
from kusciajob.testing.server import AsyncJobServer, JobServer

__all__ = ["AsyncJobServer", "Call", "Clock", "Gate", "JobServer", "Kit", "KitError", "Tasks", "assert_job"]
