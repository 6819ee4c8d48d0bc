"""Runs jobs: watches the log, plans what is next, commits it, and acts."""
