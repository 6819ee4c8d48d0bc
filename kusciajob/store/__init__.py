"""Stores of jobs and the log of their changes: what all stores share, `memory`, and one package per medium."""
