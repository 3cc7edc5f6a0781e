"""Finished rounds → what a report says: reading → findings → pages."""
