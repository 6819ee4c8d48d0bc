"""Safe ways to read and write files, for all parts."""
