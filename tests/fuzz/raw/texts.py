"""What a refusal may say."""


def check_text(error: Exception) -> None:
    """Something, and not all of the input again."""
    assert 0 < len(str(error)) < 10_000, error
