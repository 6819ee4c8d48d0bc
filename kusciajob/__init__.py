"""kusciajob: a light job server that speaks the SecretFlow Kuscia job API."""

__version__ = "0.1.0"
