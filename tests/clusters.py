"""Ray clusters of their own for tests."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from servers import free_port

RAY = str(Path(sys.executable).parent / "ray")


@contextmanager
def cluster(log: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """A Ray cluster of two CPUs that was started with an environment; yields its address."""
    port = free_port()
    temporary = tempfile.mkdtemp(prefix="lt_ray_test_")  # sockets below it must have short names
    words = [RAY, "start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false"]
    words += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={temporary}"]
    with log.open("w") as file:
        head = subprocess.Popen(words, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 200
        while "--block" not in log.read_text():
            assert head.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait(timeout=60)
        shutil.rmtree(temporary, ignore_errors=True)
