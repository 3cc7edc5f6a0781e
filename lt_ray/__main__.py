"""`python -m lt_ray` is `lt-ray`."""

from lt_ray.cli.main import app

app(prog_name="lt-ray")
