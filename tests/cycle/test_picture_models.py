"""Cycles of picture models: what their identity is made of."""

from typing import ClassVar, Literal

import pytest

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import MODELS, Cnn, Encoder, ModelSettings
from lt_ray.cycle.prunings import Similarity
from lt_ray.cycle.tasks import TaskSettings
from lt_ray.rounds.chain import chain


class Pictures(TaskSettings):
    inputs: ClassVar = "images"
    name: Literal["pictures"] = "pictures"


CHANGES: dict[str, dict[str, object]] = {
    "cifar_resnet": {"depth": 32, "width": 8, "shortcut": "padding", "norm_init": "ones"},
    "cifar_vgg": {"depth": 11, "width": 8, "norm_init": "ones"},
    "resnet": {"path": "microsoft/resnet-18", "revision": "x", "weights": "random", "digest": "d"},
    "torchvision": {"architecture": "resnet18", "path": "r50.safetensors", "digest": "d"},
}
"""Model → another value of each of its fields"""


def a_cycle(model: ModelSettings, *schedule: Similarity) -> Cycle:
    return Cycle(task=Pictures(), model=model, schedule=schedule)


@pytest.mark.parametrize("name", [name for name, kind in MODELS.items() if kind.inputs == "images"])
def test_every_field_is_part_of_the_identity(name):
    """Changing any one field changes the identity."""
    kind, changes = MODELS[name], CHANGES[name]
    assert set(kind.model_fields) - {"name"} == set(changes), "a new field needs its line here"
    ids = {a_cycle(kind(**{field: value})).id for field, value in changes.items()}
    assert len(ids | {a_cycle(kind()).id}) == len(changes) + 1


def test_recalibrating_has_a_meaning_where_there_are_statistics():
    """With batch norms it makes another cycle with another round; without any it makes none, nor where it is off."""

    def of(model: ModelSettings, **fields: object) -> Cycle:
        task = {"task": Pictures()} if model.inputs == "images" else {}
        return Cycle(**task, model=model, schedule=(Similarity(**fields),))

    resnet, encoder = MODELS["cifar_resnet"](), Encoder(digest="d")
    assert of(resnet, recalibrate=True).id != of(resnet).id == of(resnet, recalibrate=False).id
    assert of(encoder, recalibrate=True).id == of(encoder).id
    keys = [[round.key for round in chain(of(m, recalibrate=r), "data")] for m in (resnet, encoder) for r in (0, 1)]
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]
    assert keys[2] == keys[3]
    assert of(resnet, recalibrate=True).flat()["similarity.recalibrate"] is True


def test_what_came_with_pictures_is_not_told_of_cycles_before_them():
    """A comparison of pooled features that re-estimates nothing has the fields that it had."""
    assert not {"features", "recalibrate"} & Similarity().meaning().keys()
    assert {"features", "recalibrate"} <= Similarity(features="flattened", recalibrate=True).meaning().keys()
    assert not Cnn.has_statistics


@pytest.mark.parametrize(
    ("name", "where"),
    [("resnet", {"path": "elsewhere/the-same", "revision": "x"}), ("torchvision", {"path": "copy.safetensors"})],
)
def test_where_a_model_was_found_is_no_part_of_what_it_is(name, where):
    """With a digest, another path or revision is the same cycle."""
    kind = MODELS[name]
    assert a_cycle(kind(digest="d", **where)).id == a_cycle(kind(digest="d", **dict.fromkeys(where, "y"))).id
