"""Containers keep what every runtime promises, and what every hosted one does."""

from tests.conformance.hosted_suite import *  # noqa: F403
from tests.conformance.runtime_suite import *  # noqa: F403
