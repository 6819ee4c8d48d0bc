"""Converts between protobuf, JSON and the model."""
