"""The errors of security. No text ever holds a token or a key."""


class SecurityError(Exception):
    """The ports cannot be protected as the settings ask; the text says why and what would be right."""


class Unauthenticated(Exception):
    """The caller is unknown; the text says whether the token was missing or wrong."""
