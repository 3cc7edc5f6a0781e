"""Methods of pruning: one file each, behind the contract in `method.py`."""
