"""The use cases: what callers can ask of the server, over any transport."""
