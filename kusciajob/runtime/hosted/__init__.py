"""Runs parties as containers or pods. An engine hosts them; `engine.py` says what it must do."""
