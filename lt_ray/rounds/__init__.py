"""A cycle's rounds: their keys, what they start from, what they compute."""
