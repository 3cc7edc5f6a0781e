"""The training loop, measuring and counter-based randomness; knows no masks and no cycle."""
