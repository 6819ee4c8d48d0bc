"""What the server tells of itself while it works: the log, traces, metrics."""
