"""Targets for coverage-guided fuzzing, a module each.

`run(data)` promises to return soon whatever the bytes are; what it raises is a finding. `seeds()` tells good inputs to
begin with.
"""
