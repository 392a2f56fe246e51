"""Moves and proves bytes: object store or HTTP to and from a directory. Runs in pods, workers and on a laptop."""
