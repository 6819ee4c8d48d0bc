"""kusciajob: a light job server that speaks the SecretFlow Kuscia job API."""

__version__ = "0.2.0"
