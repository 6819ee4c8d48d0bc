"""Where jobs and the log of their changes live."""
