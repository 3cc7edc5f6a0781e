"""Finished rounds → names, tables and curves; pure."""
