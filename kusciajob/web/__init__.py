"""The page: HTML, style and modules for browsers, as files of this package."""

PATH = "/ui/"
"""Where the server has it."""
