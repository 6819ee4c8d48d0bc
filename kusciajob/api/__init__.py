"""The edges that clients call: decode, call the service, encode."""
