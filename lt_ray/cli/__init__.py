"""The command line of every sweep script, and `lt-ray`."""
