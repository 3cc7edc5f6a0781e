"""The round store: round key → an immutable directory; and the folder that it is in."""
