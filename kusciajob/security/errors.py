"""What security refuses. No text ever holds a token or a key."""


class SecurityError(Exception):
    """The ports cannot be protected as the settings ask; the text says why and what would be right."""


class Unauthenticated(Exception):
    """The caller is nobody known; the text says whether the token was missing or wrong."""
