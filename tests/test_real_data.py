"""The sweep on real reviews, as far as two cores can go in a minute or two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lt_ray.cycle.tasks import AgNews, Emotion, YahooAnswers, YelpFull, YelpPolarity
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tasks import registry

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("LT_RAY_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "imdb").is_dir(), reason=f"no IMDb below {DATA}: set LT_RAY_DATA to the data sets' folder"
)
def test_two_epochs_of_the_dense_imdb_cnn_reach_the_logs_accuracy(tmp_path):
    """IMDb's 50,000 reviews, pooled into 28,000/12,000/10,000, and 25,000 words, which are most that validation and
    test have (methods §2): 2,620,801 parameters, test accuracy 0.88 or more (published: 0.889)."""
    words = [
        sys.executable, "sweeps/imdb_lt.py", "--local", "--data-dir", str(DATA), "--rounds", "0", "--tracking-uri",
        "none", "--set", "training.epochs=2", "--set", "training.lr=0.001", "--set", "model.dropout=0.5",
        "--set", "magnitude.rewind_epoch=0", "--set", "magnitude.restart=rewind", "--storage", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    words = [sys.executable, "-m", "lt_ray", "status", "imdb_lt", "--storage", str(tmp_path), "--json"]
    (row,) = map(json.loads, subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.splitlines())
    _, facts = SweepDirectory(tmp_path / "imdb_lt").environment()
    notes = facts.pop("notes", "")
    sizes = {"train": 28_000, "validation": 12_000, "test": 10_000, "classes": 2}
    assert facts == sizes | {"class_names": '["negative", "positive"]'}
    assert "unknown" not in notes
    assert row["parameters"] == 2_620_801  # with 25,002 rows of 100 features, a word's each, and two more
    assert row["remaining"] == 2_620_701
    assert row["test_accuracy"] >= 0.88


@pytest.mark.slow
@pytest.mark.skipif(
    not ((DATA / "ag_news").is_dir() and (DATA / "yelp").is_dir()), reason=f"no AG-news and Yelp below {DATA}"
)
def test_the_real_public_sets_have_the_sizes_of_their_readme():
    """AG-news' 46,000 and 7,600 rows and Yelp's 5,000 and 5,000 by stars, cut 70/30; 3 stars have no polarity."""
    news, full, polarity = (registry.corpus(task, DATA) for task in (AgNews(), YelpFull(), YelpPolarity()))
    assert [len(split) for split in (news.train, news.validation, news.test)] == [32_200, 13_800, 7_600]
    assert news.classes == ("World", "Sports", "Business", "Sci/Tech")
    assert [int((news.test.labels == label).sum()) for label in range(4)] == [1_900] * 4
    assert [len(split) for split in (full.train, full.validation, full.test)] == [3_500, 1_500, 5_000]
    assert full.classes == ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
    assert [int((full.test.labels == label).sum()) for label in range(5)] == [722, 419, 545, 1_073, 2_241]
    # Train by stars: 750 + 435 negative, 1,111 + 2,188 positive; 30 % of these 4,484 validate. Test: 1,141 and 3,314.
    assert [len(split) for split in (polarity.train, polarity.validation, polarity.test)] == [3_139, 1_345, 4_455]
    assert polarity.classes == ("negative", "positive")
    official = polarity.train + polarity.validation
    assert [int((official.labels == label).sum()) for label in (0, 1)] == [1_185, 3_299]
    assert [int((polarity.test.labels == label).sum()) for label in (0, 1)] == [1_141, 3_314]


@pytest.mark.slow
@pytest.mark.skipif(
    not ((DATA / "emotion").is_dir() and (DATA / "yahoo_answers").is_dir()), reason=f"no Emotion and Yahoo below {DATA}"
)
def test_the_real_sets_of_the_encoders_have_the_sizes_of_their_readme(caplog):
    """Emotion's official 16,000/2,000/2,000 and Yahoo's 47,500 titles, of which 5 % validate, and 9,500; none empty."""
    emotion, yahoo = registry.corpus(Emotion(), DATA), registry.corpus(YahooAnswers(), DATA)
    assert [len(split) for split in (emotion.train, emotion.validation, emotion.test)] == [16_000, 2_000, 2_000]
    assert emotion.classes == ("sadness", "joy", "love", "anger", "fear", "surprise")
    assert [int((emotion.test.labels == label).sum()) for label in range(6)] == [581, 695, 159, 275, 224, 66]
    assert [len(split) for split in (yahoo.train, yahoo.validation, yahoo.test)] == [45_125, 2_375, 9_500]
    assert len(yahoo.classes) == 10
    assert yahoo.classes[::9] == ("Society & Culture", "Politics & Government")
    assert [int((yahoo.test.labels == label).sum()) for label in range(10)] == [950] * 10
    assert not caplog.records
