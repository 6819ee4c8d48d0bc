"""The page: HTML, style and modules for browsers, as files of this package."""
