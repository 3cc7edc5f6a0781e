"""What a report is read from: the cycles of sweeps with their finished rounds, and what others published."""
