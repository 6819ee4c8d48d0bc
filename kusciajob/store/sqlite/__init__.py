"""The JobStore in one SQLite file: all that knows SQL, rows or files is here."""
