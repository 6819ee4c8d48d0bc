"""For operators: metrics of the whole server, doctor, data directory, formats on disk."""
