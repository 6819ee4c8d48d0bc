"""The job model: pure values and decisions; no asyncio, I/O, clock or protobuf."""
