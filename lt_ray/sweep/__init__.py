"""Cycle + space + samples + seeds → the plan; which cycle runs next, which ends, what is kept."""
