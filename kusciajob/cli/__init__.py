"""The command line: reads arguments and prints."""
