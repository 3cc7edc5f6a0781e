"""What `--toy` shows of the sweeps on pictures: something, in seconds."""

import pytest
from killing import KillableSweep

pytestmark = pytest.mark.slow


def run(script: str, storage, *words: str) -> list[dict]:
    sweep = KillableSweep(
        [f"sweeps/{script}.py", "--toy", "--local", "--tracking-uri", "none", *words], f"{script}-toy"
    )
    sweep.run(storage)
    return sweep.rows(storage)


def test_a_toy_ticket_of_pictures_keeps_more_than_its_control(tmp_path):
    """After four prunings the ticket has what the dense network has, and its control ten points less: a sweep of the
    control alone computes both."""
    rows = run("cifar_lt", tmp_path, "--set", "magnitude.restart=random")
    assert [row["round"] for row in rows] == [*range(5)] * 2
    dense, ticket, control = (rows[place]["test_accuracy"] for place in (0, 4, 9))
    assert 0.9 < dense < 1
    assert ticket > dense - 0.01
    assert control < ticket - 0.1


def test_blocks_of_a_toy_resnet_go(tmp_path):
    """It learns, some of its blocks are so similar that they go, and it has learnt again after that."""
    settings = {"schedule": "similarity", "threshold": "0.98", "stride": "1", "freeze": "false"}
    words = [f"{'' if key == 'schedule' else 'similarity.'}{key}={value}" for key, value in settings.items()]
    dense, pruned = run("imagenet_deeparc", tmp_path, *(word for each in words for word in ("--set", each)))
    assert dense["test_accuracy"] > 0.9
    assert pruned["blocks"] < dense["blocks"]
    assert pruned["before_test_accuracy"] < dense["test_accuracy"] - 0.05 < pruned["test_accuracy"]
