"""What a test controls of a server: time, programs, faults. It is there with the setting `testing` only."""
