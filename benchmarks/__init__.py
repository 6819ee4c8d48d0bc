"""How close the server comes to the floor of its stack: `python -m benchmarks`. See harness.py for how it measures."""
