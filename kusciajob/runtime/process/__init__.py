"""Runs programs as processes of this machine."""
