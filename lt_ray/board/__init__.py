"""What a running or finished sweep looks like in a terminal."""
