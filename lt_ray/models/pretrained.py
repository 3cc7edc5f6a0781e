"""Pretrained models: fetched from the hub or a folder, kept once where all workers find them, known by their digest."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from lt_ray.cycle.identity import canonical
from lt_ray.cycle.models import MODELS, TOY_ENCODER, ModelSettings, Pretrained
from lt_ray.errors import DamagedError, ModelError, StorageError
from lt_ray.store.files import write_directory

CONNECT_S = 10.0
"""Longest wait for the hub's first answer [s]"""
REVISIONS = {
    "google-bert/bert-base-uncased": "86b5e0934494bd15c9632b12f734a8a67f723594",
    "distilbert/distilbert-base-uncased": "12040accade4e8a0f71eabdb258fecc2e7e948be",
    "FacebookAI/roberta-base": "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
    "microsoft/resnet-18": "65a5785d9156231087c481e0c7dd33a5ff6f7e3e",
    "microsoft/resnet-50": "34c2154c194f829b11125337b98c8f5f9965ff19",
}
"""The hub's models that lt_ray pins"""
_CONFIG, _WEIGHTS, _DIGEST = "config.json", "weights.safetensors", "digest.json"
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model",
)  # fmt: skip
_NOISE = frozenset({"_name_or_path", "architectures", "transformers_version", "torch_dtype", "dtype", "use_cache"})
"""Keys of a configuration that change no number"""


@dataclass(frozen=True)
class Base:
    """What the models of one sweep start from: `config.json`, a tokenizer, and pretrained weights."""

    directory: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration as the hub or the folder had it."""
        config: dict[str, Any] = json.loads((self.directory / _CONFIG).read_text())
        return config

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the configuration and the weights."""
        digest: str = json.loads((self.directory / _DIGEST).read_text())["digest"]
        return digest

    def weights(self) -> dict[str, Tensor]:
        """Return the pretrained weights, float32, by the classifier's own names; raises `DamagedError`."""
        try:
            weights: dict[str, Tensor] = safetensors.torch.load_file(self.directory / _WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise DamagedError(f"{self.directory}: {_WEIGHTS} cannot be read ({error}).") from None
        return weights


P = TypeVar("P", bound=Pretrained)
M = TypeVar("M", bound=ModelSettings)


def keep(folder: Path, settings: P, cache: Path) -> tuple[P, Base]:
    """Copy what a model is made of into a cache, and return the model with its digest, and the copy.

    - `folder`: laid out as on the hub: config.json, a tokenizer for texts, and weights as safetensors where
      `settings.weights` is `pretrained`
    - `cache`: on a path that every node sees; `<cache>/<digest>/` appears whole or not at all

    Raises `ModelError` where something is missing or is no model of this kind.
    """
    config = _read_config(folder, settings)
    weights = _read_weights(folder, settings) if settings.weights == "pretrained" else {}
    tokenizer = {name: (folder / name).read_bytes() for name in _TOKENIZER if (folder / name).exists()}
    return keep_state(config, weights, settings, cache, tokenizer)


def keep_state(
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    settings: M,
    cache: Path,
    tokenizer: Mapping[str, bytes] = MappingProxyType({}),
) -> tuple[M, Base]:
    """Keep a state and what else says what it is of, as `keep` does."""
    data = safetensors.torch.save(dict(sorted(weights.items())))
    telling = {key: value for key, value in config.items() if key not in _NOISE}
    parts = canonical(telling).encode(), hashlib.sha256(data).hexdigest().encode()
    digest = hashlib.sha256(b"\n".join(parts)).hexdigest()
    words = hashlib.sha256(b"".join(name.encode() + b"\0" + text for name, text in tokenizer.items())).hexdigest()
    final = cache / f"{digest[:16]}-{words[:8]}"  # equal models with other tokenizers are two
    plain = {_CONFIG: json.dumps(config, indent=1), _DIGEST: json.dumps({"digest": digest, "model": settings.title})}
    files = {name: text.encode() for name, text in plain.items()}
    write_directory(final, {**files, **tokenizer, _WEIGHTS: data}, {})
    return settings.model_copy(update={"digest": digest}), Base(final)


def kept(digest: str, title: str, cache: Path) -> Base:
    """Return the files of a model that `keep` or `keep_state` gave this digest; raises `StorageError`.

    - `title`: what the message calls it
    """
    folders = sorted(cache.glob(f"{digest[:16]}-*"))
    if not folders:
        raise StorageError(
            f"{cache} must hold what {title} is made of, but does not: run the sweep's command again, which finds its "
            "rounds and writes it anew"
        )
    return Base(folders[0])


def state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, float32 where they are floats; raises `ModelError`."""
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        said = " ".join(str(error).split())[:200]
        raise ModelError(
            f"`model.path` must be a state dict as safetensors, but {path} cannot be read ({said}); convert one of "
            "torch's with safetensors.torch.save_file, or leave it out to draw the weights from the seed."
        ) from None
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def find(encoder: Pretrained) -> Path:
    """Return the folder with a model's files: its path, or the hub's snapshot, from the local cache where it is there.

    Raises `ModelError` with the ways out where there is none.
    """
    folder = Path(encoder.path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or encoder.path.startswith((".", "~")) or encoder.path.count("/") > 1:
        raise ModelError(
            f"`--model {encoder.path}` must be a model of the hub or a folder laid out as there, but there is no such "
            "folder: name another one, or use --toy."
        )
    from huggingface_hub import HfApi, snapshot_download

    revision = encoder.revision or REVISIONS.get(encoder.path, "main")
    wanted = [*_TOKENIZER, _CONFIG]
    if encoder.weights == "pretrained":
        wanted += ["*.safetensors", "*.safetensors.index.json"]
    try:
        return Path(snapshot_download(encoder.path, revision=revision, allow_patterns=wanted, local_files_only=True))
    except Exception:  # the hub's client raises many kinds for "not cached"; the hub is asked next
        pass
    try:
        HfApi().model_info(encoder.path, revision=revision, timeout=CONNECT_S)
        return Path(snapshot_download(encoder.path, revision=revision, allow_patterns=wanted))
    except Exception as error:  # … and what its transports raise
        reason = (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
        kinds = {name: kind for name, kind in MODELS.items() if kind.inputs == encoder.inputs}
        ours = ", ".join(name for name, kind in kinds.items() if not issubclass(kind, Pretrained))
        a, files = ("an encoder", "config.json, tokenizer") if encoder.inputs == "text" else ("a ResNet", "config.json")
        raise ModelError(
            f"`--model {encoder.path}` must be one of {ours}, or {a} within reach, but it is not ({reason}).\n"
            f"Give a folder with its {files} and model.safetensors (--model DIR), with --from-config one without "
            "weights, or use --toy."
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from telling what it loads, in words and bars; restored on exit."""
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    propagates = logging.getLogger("transformers").propagate
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        logging.getLogger("transformers").propagate = propagates


def _read_config(folder: Path, encoder: Pretrained) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / _CONFIG).read_text())
        kind = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise ModelError(
            f"`--model {encoder.path}`: {folder} must hold a model's config.json with `model_type`, but it cannot be "
            f"read ({said}); name another one."
        ) from None
    if encoder.inputs == "images":
        wanted, known, such_as = "a ResNet of transformers", {"resnet"}, "microsoft/resnet-50"
    else:
        from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

        wanted = "an encoder that transformers can give a classification head"
        known, such_as = set(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES), "google-bert/bert-base-uncased"
    if kind not in known:
        raise ModelError(
            f"`--model {encoder.path}` must be {wanted}, but its `model_type` is {kind!r}; name another one, such as "
            f"{such_as}."
        )
    if quantised := config.get("quantization_config"):
        how = quantised.get("quant_method", "quantised") if isinstance(quantised, dict) else "quantised"
        raise ModelError(
            f"`--model {encoder.path}` must hold plain weights, but its `quantization_config` says {how}: give "
            "the model that it was made from."
        )
    return config


def _read_weights(folder: Path, encoder: Pretrained) -> dict[str, Tensor]:
    """The weights in a folder by the names of the classifier; those that it lacks are not there."""
    if not any(folder.glob("*.safetensors")):
        if encoder.path == TOY_ENCODER:
            return {}
        raise ModelError(
            f"`--model {encoder.path}`: {folder} must hold weights as safetensors, but there is no such file: convert "
            "them, or say --from-config to draw them from the seed."
        )
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    pictures = encoder.inputs == "images"
    loader = AutoModelForImageClassification if pictures else AutoModelForSequenceClassification
    try:
        with quiet():
            model, report = loader.from_pretrained(
                folder,
                output_loading_info=True,
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                dtype="float32",
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        said = " ".join(str(error).split())[:200]
        raise ModelError(
            f"`--model {encoder.path}`: the weights in {folder} cannot be loaded ({said}); get them again, or name "
            "another model."
        ) from None
    missing = set(report["missing_keys"]) | {key for key, *_ in report.get("mismatched_keys", ())}
    loaded = model.state_dict() if pictures else dict(model.named_parameters())  # batch norms have statistics
    weights = {name: tensor.detach().contiguous() for name, tensor in loaded.items() if name not in missing}
    if len(weights) < len(missing):
        raise ModelError(
            f"`--model {encoder.path}`: the weights in {folder} must be the model's own, but {len(missing)} of "
            f"{len(missing) + len(weights)} of its tensors are not among them; name another model, or say "
            "--from-config."
        )
    return weights
