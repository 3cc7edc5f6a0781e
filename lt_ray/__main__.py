"""`python -m lt_ray` is `lt-ray`."""

from lt_ray.cli import app

app(prog_name="lt-ray")
