"""The hub that tails the log and the streams that watch it."""
