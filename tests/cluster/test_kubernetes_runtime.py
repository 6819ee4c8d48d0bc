"""HostedRuntime over pods passes the suites that all runtimes pass."""

from tests.conformance.hosted_suite import *  # noqa: F403
from tests.conformance.runtime_suite import *  # noqa: F403
from tests.conformance.walls_suite import *  # noqa: F403
