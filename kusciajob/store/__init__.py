"""Where jobs and the log of their changes live: what every store shares, `memory`, and one package per medium."""
