"""Runs workloads as containers on one machine, through the Docker Engine API that Docker and Podman have."""
