"""Rebuilds the photographs that `nano` was trained on: `python -m jobs.photographs OUT`."""
