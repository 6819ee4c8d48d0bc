"""The client side of the job API."""
