"""What a sweep runs on and with."""

import getpass
import socket
import subprocess

import torch

from lt_ray.tracking.environment import environment


def test_versions_commit_and_hardware_are_told_and_no_names(tmp_path):
    """Versions and hardware are told, the commit with `+` where a tracked file was changed, no user and no host."""
    assert "commit" not in environment(tmp_path)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    (tmp_path / "file").write_text("one")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    clean = environment(tmp_path)
    assert len(clean["commit"]) == 40
    (tmp_path / "file").write_text("two")
    assert environment(tmp_path)["commit"] == clean["commit"] + "+"
    assert clean["torch"] == torch.__version__.partition("+")[0] or clean["torch"] == torch.__version__
    assert {"python", "lt_ray", "ray", "mlflow", "cpus", "cpu", "ram_gib", "gpus"} <= clean.keys()
    assert int(clean["cpus"]) >= 1
    assert int(clean["ram_gib"]) >= 1
    words = {word for value in clean.values() for word in value.split()}
    assert not words & {socket.gethostname(), getpass.getuser()}
