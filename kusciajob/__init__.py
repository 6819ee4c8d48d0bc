"""kusciajob: a light job server that speaks the SecretFlow Kuscia job API."""
