"""Example programs of a two-party job; each is started once per party as `<program> <task config file>`."""
