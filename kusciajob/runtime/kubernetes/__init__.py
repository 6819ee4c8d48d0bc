"""Runs parties as pods of a Kubernetes cluster."""
