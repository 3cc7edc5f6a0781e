"""Cycles, frozen descriptions of what is to be computed, and the rows that they yield; no torch in here."""
