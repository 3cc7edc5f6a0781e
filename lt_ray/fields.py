"""The groups of a cycle's fields: tasks, models, training, prunings."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Share = Annotated[float, Field(ge=0, lt=1)]
Scalar = str | int | float | bool | None


class Settings(BaseModel):
    """A frozen group of fields; unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        return self.model_dump(mode="json")


def _a_share(value: object, info: ValidationInfo) -> object:
    """Refuse percents where a share is meant."""
    try:
        number = float(str(value))
    except ValueError:
        return value
    if 1 < number <= 100:
        raise ValueError(f"`{info.field_name}` must be a share, not percent, but got {value}: say {number / 100:g}")
    return value


class Toy(Settings):
    """The built-in corpus: generated, seeded, offline."""

    name: Literal["toy"] = "toy"
    train: int = Field(default=2000, ge=20)
    """Examples in the train split [count]"""
    validation: int = Field(default=500, ge=20)
    """Examples in the validation split [count]"""
    test: int = Field(default=1000, ge=20)
    """Examples in the test split [count]"""
    data_seed: int = Field(default=0, ge=0)
    """Seed of the generator; the cycle's own seed does not touch the data"""


def _text_and_label(columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if columns is not None and (len(columns) < 2 or len(set(columns)) < len(columns) or "" in columns):
        raise ValueError(
            "`columns` must name one or more columns of text and then the label's, all different, like "
            f"[review,stars], but got {list(columns)}"
        )
    return columns


Columns = Annotated[tuple[str, ...] | None, AfterValidator(_text_and_label)]


class PublicTexts(Settings):
    """What the public text sets have in common: where they are, and how they are cut.

    The logs' cuts are the defaults: 30 % of what is not test validates, and a pooled cut tests on 20 %. Every cut is
    stratified: each part has the classes in the proportions of what it is cut from.
    """

    dataset: str
    """Where the hub keeps it; not used with a data directory"""
    revision: str
    """Commit of that data set"""
    split: Literal["pooled", "official"] = "official"
    """`pooled` = all official splits together, cut anew; `official` = the official test, and a validation split cut
    from the official train where none is given"""
    sizes: tuple[int, int, int] | None = None
    """Train, validation and test, drawn from all there are, stratified; None = all, by shares [count]"""
    validation_share: float = Field(default=0.3, gt=0, lt=1)
    """Share that validates of what is not test, where no sizes are given [0, 1]"""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the pooled texts that tests, where no sizes are given [0, 1]"""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the cut; the cycle's own seed does not touch the data"""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens kept of a document; None = all [count]"""
    columns: Columns = None
    """Columns of a table: one or more whose texts, joined by a space, are the text, then the label's; None = `text` and
    `label`, or the hub's own"""

    @field_validator("sizes")
    @classmethod
    def _sizes_are_positive(cls, sizes: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if sizes is not None and min(sizes) < 1:
            raise ValueError(f"`sizes >= 1` must hold, but got {sizes}")
        return sizes


class Imdb(PublicTexts):
    """IMDb reviews, two classes (Maas et al. 2011, ACL); pooled as the logs do: 28,000/12,000/10,000 of 50,000."""

    name: Literal["imdb"] = "imdb"
    dataset: str = "stanfordnlp/imdb"
    revision: str = "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
    split: Literal["pooled", "official"] = "pooled"


class AgNews(PublicTexts):
    """AG's news, four classes (Zhang et al. 2015, NeurIPS); the logs' 84,000/36,000/7,600 of 120,000 + 7,600."""

    name: Literal["ag_news"] = "ag_news"
    dataset: str = "fancyzhx/ag_news"
    revision: str = "eb185aade064a813bc0b7f42de02595523103ca4"


class YelpPolarity(PublicTexts):
    """Yelp reviews, two classes: 1 and 2 stars against 4 and 5 (Zhang et al. 2015, NeurIPS)."""

    name: Literal["yelp_polarity"] = "yelp_polarity"
    dataset: str = "fancyzhx/yelp_polarity"
    revision: str = "bbf1c97a1f0cf005e5aded43839fd814654a1557"


class YelpFull(PublicTexts):
    """Yelp reviews, five classes: the stars (Zhang et al. 2015, NeurIPS)."""

    name: Literal["yelp_full"] = "yelp_full"
    dataset: str = "Yelp/yelp_review_full"
    revision: str = "c1f9ee939b7d05667af864ee1cb066393154bf85"


class Emotion(PublicTexts):
    """English tweets, six emotions (Saravia et al. 2018, EMNLP); the official 16,000/2,000/2,000."""

    name: Literal["emotion"] = "emotion"
    dataset: str = "dair-ai/emotion"
    revision: str = "cab853a1dbdf4c42c2b3ef2173804746df8825fe"


class YahooAnswers(PublicTexts):
    """Yahoo! Answers topics, ten classes (Zhang et al. 2015, NeurIPS)."""

    name: Literal["yahoo_answers"] = "yahoo_answers"
    dataset: str = "community-datasets/yahoo_answers_topics"
    revision: str = "6652a1e7c94f7260a0bfd0c9092dd48e2d536ea1"
    validation_share: float = Field(default=0.05, gt=0, lt=1)
    """Share that validates of the official train, of which there are 1,400,000 [0, 1]"""


class Folder(Settings):
    """A user's own files with `text` and `label`; a cut is stratified: each part has the classes as train had them."""

    name: Literal["folder"] = "folder"
    validation_share: float = Field(default=0.15, gt=0, lt=1)
    """Share cut for validation where no file is named for it [0, 1]"""
    test_share: float = Field(default=0.15, gt=0, lt=1)
    """Share cut for test where no file is named for it [0, 1]"""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the cut; the cycle's own seed does not touch the data"""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens kept of a document; None = all [count]"""
    columns: Columns = None
    """Columns of a table: one or more whose texts, joined by a space, are the text, then the label's; None = `text` and
    `label`, or the hub's own"""

    @model_validator(mode="after")
    def _shares_leave_a_train_split(self) -> Folder:
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                "`validation_share + test_share < 1` must hold, but got "
                f"(validation_share={self.validation_share}, test_share={self.test_share})"
            )
        return self


Task = Toy | Imdb | AgNews | YelpPolarity | YelpFull | Emotion | YahooAnswers | Folder
TASKS: dict[str, type[Task]] = {
    "toy": Toy,
    "imdb": Imdb,
    "ag_news": AgNews,
    "yelp_polarity": YelpPolarity,
    "yelp_full": YelpFull,
    "emotion": Emotion,
    "yahoo_answers": YahooAnswers,
    "folder": Folder,
}


class Cnn(Settings):
    """The logs' CNN: embedding, convolutions of several widths, max over time, dropout, linear (Kim 2014)."""

    name: Literal["cnn"] = "cnn"
    vocabulary: int = Field(default=25_000, ge=1)
    """Most frequent train words kept, besides the unknown word and the padding [count]"""
    embedding: int = Field(default=100, ge=1)
    """Features of a word [count]"""
    filters: int = Field(default=100, ge=1)
    """Filters of each width [count]"""
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(3, 4, 5), min_length=1)
    """Words a filter sees [count]"""
    dropout: Share = 0.5
    """Share of features dropped before the last layer [0, 1)"""


class Recurrent(Settings):
    """What the logs' recurrent models have in common: embedding, dropout, recurrent layers, their last states,
    dropout, linear."""

    vocabulary: int = Field(default=25_000, ge=1)
    """Most frequent train words kept, besides the unknown word and the padding [count]"""
    embedding: int = Field(default=100, ge=1)
    """Features of a word [count]"""
    hidden: int = Field(default=256, ge=1)
    """Features of a state, in each direction [count]"""
    layers: int = Field(default=1, ge=1)
    """Recurrent layers [count]"""
    bidirectional: bool = False
    """Read from both ends"""
    recurrent_init: Literal["orthogonal", "xavier"] = "orthogonal"
    """How weights from state to state are drawn; the others are Xavier normal, biases 0"""
    dropout: Share = 0.5
    """Share of features dropped after the embedding, between layers and before the last layer [0, 1)"""


class Lstm(Recurrent):
    """The logs' LSTM: two layers, both directions (Hochreiter & Schmidhuber 1997)."""

    name: Literal["lstm"] = "lstm"
    layers: int = Field(default=2, ge=1)
    bidirectional: bool = True


class Rnn(Recurrent):
    """The logs' plain RNN, with tanh: one layer, one direction (Elman 1990)."""

    name: Literal["rnn"] = "rnn"


class Encoder(Settings):
    """A Hugging Face sequence classifier whose encoder is one stack of blocks: BERT, DistilBERT, RoBERTa, …"""

    name: Literal["encoder"] = "encoder"
    path: str = Field(default="google-bert/bert-base-uncased", min_length=1)
    """Its name on the hub, a folder laid out as there, or `toy` = built in; where it is found, not what it is"""
    revision: str | None = None
    """Its commit on the hub; None = the one that lt_ray pins, for others the newest"""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`pretrained` = as found, and a head drawn from the seed; `random` = all drawn from the seed by its initialiser"""
    dropout: Share | None = None
    """Share dropped wherever the model drops: embeddings, attention, blocks, head, but for whole layers (`layerdrop`);
    a model that drops somewhere whatever its configuration says is refused; None = as its configuration says [0, 1)"""
    digest: str | None = None
    """SHA-256 of what was found at `path`: its configuration and, where they are used, its weights; None = not looked
    at yet. It stands for `path` and `revision` in every identity"""

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        tree = self.model_dump(mode="json")
        return tree if self.digest is None else tree | {"path": None, "revision": None}


def model_name(path: str) -> str:
    """Return what a model is called by where it was found: its name on the hub, or the end of its folder's path."""
    folder = path.startswith(("/", ".", "~")) or path.count("/") > 1
    return "/".join(path.rstrip("/").split("/")[-2:]) if folder else path


TOY_ENCODER = "toy"
"""Path of the built-in encoder"""
Model = Cnn | Lstm | Rnn | Encoder
RECURRENT = ("lstm", "rnn")
"""Names of the recurrent ones"""
MODELS: dict[str, type[Model]] = {"cnn": Cnn, "lstm": Lstm, "rnn": Rnn, "encoder": Encoder}


class Training(Settings):
    """How a round trains."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate; its highest where it changes"""
    lr_schedule: Literal["constant", "linear"] = "constant"
    """After the warm-up: `constant`, or `linear` = down to 0 at the round's last step"""
    warmup: Share = 0.0
    """Share of a round's steps in which the learning rate rises from 0, linearly [0, 1)"""
    weight_decay: float = Field(default=0.0, ge=0)
    decayed: Literal["all", "matrices"] = "all"
    """What weight decay touches: `all` parameters, or `matrices` = no biases and no norms, as is usual for BERT"""
    gradient_norm: float | None = Field(default=None, gt=0)
    """Norm to which a step's gradient is clipped, over all kept weights together: those pruned are not in it; None =
    never"""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Of sgd; the others have none"""
    batch_size: int = Field(default=64, ge=1)
    """Documents of one optimizer step [count]"""
    accumulation: int = Field(default=1, ge=1)
    """Parts in which a batch goes through the model one after the other, gradients added: less memory, the same step
    but for its dropout [count]"""
    epochs: int = Field(default=10, ge=1)
    """Last epoch of the dense training [epochs]"""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many epochs in a row without a lower validation loss, and end with the weights of the lowest;
    None = train all epochs and end with the last weights [epochs]"""
    length_batches: bool = False
    """Batch documents of like length together"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 = autocast of the forward pass"""

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        tree = self.model_dump(mode="json")
        if self.optimizer != "sgd":
            tree |= {"momentum": 0.0}
        if self.weight_decay == 0:
            tree |= {"decayed": "all"}
        return tree


FINE_TUNING = Training(
    optimizer="adamw",
    lr=5e-5,
    lr_schedule="linear",
    warmup=0.06,
    weight_decay=0.01,
    decayed="matrices",
    gradient_norm=1.0,
    batch_size=32,
    epochs=1,
    length_batches=True,
)
"""How the logs fine-tune BERT (AdamW 5e-5, batch 32, one epoch), the rest as is usual (Devlin et al. 2019)"""


class Magnitude(Settings):
    """One pruning of the smallest remaining magnitudes, and what the kept weights become (Frankle & Carbin 2019)."""

    method: Literal["magnitude"] = "magnitude"
    fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the remaining prunable weights that is removed (0, 1)"""
    output_fraction: float | None = Field(default=None, gt=0, lt=1)
    """Share removed of the output layer's instead, with local scope; Frankle & Carbin's LeNet takes half of `fraction`;
    None = `fraction` (0, 1)"""
    strategy: Literal["iterative", "one_shot"] = "iterative"
    """`iterative` = round r prunes what round r − 1 trained; `one_shot` = round r prunes the dense weights, at once as
    many as r iterative prunings would"""
    scope: Literal["local", "global"] = "local"
    """`local` = each tensor alone, `global` = all tensors ranked together"""
    rounding: Literal["percentile", "nearest", "ceil"] = "percentile"
    """How many of n weights `fraction` removes: METHODS §2"""
    parameters: Literal["all", "weights"] = "all"
    """`all` = weights, biases and embeddings; `weights` = those of convolutional, linear and recurrent layers"""
    exclude: tuple[str, ...] = ()
    """Parameter names (shell patterns) never pruned"""
    random_pruning: bool = False
    """Control: of every tensor as many weights as the ticket of the same round has, at random positions"""
    restart: Literal["rewind", "random", "final"] = "rewind"
    """`rewind` = round 0's weights of `rewind_epoch`, `random` = a new draw of the initialiser, `final` = the weights
    just trained"""
    masks: Literal["ticket", "own"] = "ticket"
    """Where restart is `random`: `ticket` = round r takes the masks that the rewound cycle has in round r, so that only
    the weights are new (the control of Frankle & Carbin 2019); `own` = each round prunes what it trained after its own
    re-initialisation, as the logs did, so that from the second round on the masks are other ones, too"""
    rewind_epoch: int | Literal["last"] = 0
    """Where restart is `rewind`: epoch of round 0 that is restored, 0 = initialisation; where masks are a rewound
    ticket's: of that ticket [epochs]"""
    rewind_budget: Literal["full", "resume"] = "full"
    """Where restart is `rewind`: `full` = all epochs again from epoch 0's data order, `resume` = from `rewind_epoch`
    to the same last epoch"""
    shared_start: tuple[str, ...] = ()
    """Where restart is `random`: parameter names (shell patterns) that restart from the seed's initial weights
    nevertheless"""
    epochs: int | None = Field(default=None, ge=0)
    """Epochs of retraining; 0 = measured as pruned, None = `training.epochs` [epochs]"""

    @field_validator("rewind_epoch", mode="before")
    @classmethod
    def _rewind_epoch_is_an_epoch(cls, value: object) -> object:
        try:
            epoch = -1 if isinstance(value, bool) else int(str(value))
        except ValueError:
            epoch = -1
        if epoch < 0 and value != "last":
            raise ValueError(f"`rewind_epoch` must be 0, 1, … or `last`, but got {value!r}")
        return value if value == "last" else epoch

    @model_validator(mode="after")
    def _output_fraction_is_of_one_tensor(self) -> Magnitude:
        if self.output_fraction is not None and self.scope == "global":
            raise ValueError(
                "`magnitude.output_fraction` needs `scope: local`, but got global, which ranks all tensors together: "
                "leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _random_positions_are_counted_by_a_ticket(self) -> Magnitude:
        if self.random_pruning and self.masks == "own":
            raise ValueError(
                "`magnitude.random_pruning` takes its counts from the ticket, but got `masks: own`: leave one "
                "of them out"
            )
        return self

    @property
    def is_control(self) -> bool:
        """Whether it takes masks, or their counts, from the ticket of the same round."""
        return self.random_pruning or (self.restart == "random" and self.masks == "ticket")

    @property
    def rewinds(self) -> bool:
        """Whether `rewind_epoch` has a meaning: for its own weights, or for the ticket whose masks it takes."""
        return self.restart == "rewind" or (self.restart == "random" and self.is_control)

    @property
    def ticket(self) -> Magnitude:
        """The pruning that finds the ticket: this one, or the one that it is the control of."""
        if not self.is_control:
            return self
        restart = "rewind" if self.restart == "random" else self.restart
        return self.model_copy(update={"restart": restart, "random_pruning": False, "shared_start": ()})

    @field_validator("exclude", "shared_start")
    @classmethod
    def _order_of_names_has_no_meaning(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(value)))

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        tree = self.model_dump(mode="json")
        if not self.rewinds:
            tree |= {"rewind_epoch": None, "rewind_budget": None}
        if self.restart != "random" or self.random_pruning:
            tree |= {"masks": None}
        if self.restart != "random":
            tree |= {"shared_start": []}
        return tree


class Similarity(Settings):
    """One removal of blocks whose outputs are like those of the block before them, by linear CKA; the kept weights go
    on as they are (MPruner; CKA: Kornblith et al. 2019, arXiv:1905.00414)."""

    method: Literal["similarity"] = "similarity"
    threshold: float = Field(default=0.98, gt=0, le=1)
    """Linear CKA from which blocks are alike (0, 1]"""
    stride: int = Field(default=1, ge=1)
    """Of each cluster the positions `1::stride` are removed: 1 = all but the first, 2 = every other one [count]"""
    clusters: Literal["anchor", "chain"] = "anchor"
    """`anchor` = alike to the cluster's first block, `chain` = to the block before"""
    freeze: bool = False
    """Train only the blocks next to removed ones, and what is no block; frozen blocks stay frozen in later rounds"""
    cka: Literal["minibatch", "tokens"] = "minibatch"
    """`minibatch` = examples are samples, their tokens' mean; unbiased, summed over batches. `tokens` = examples are
    the tokens of one sentence; biased, averaged over sentences"""
    calibration: int = Field(default=2048, ge=4)
    """Examples of train on which blocks are compared; all, where there are fewer [count]"""
    calibration_batch: int = Field(default=256, ge=4)
    """Examples of one batch of the `minibatch` estimator [count]"""
    max_drop: float | None = Field(default=None, ge=0, lt=1)
    """Validation accuracy that may be lost against round 0: a round that loses more is rejected, and the next one
    starts from the last accepted one with the next stride; None = every round is accepted [0, 1)"""
    max_stride: int = Field(default=3, ge=1)
    """With `max_drop`: stride after which no further removal is tried [count]"""
    epochs: int | None = Field(default=None, ge=0)
    """Epochs of retraining; 0 = measured as pruned, None = `training.epochs` [epochs]"""

    _shares = field_validator("threshold", "max_drop", mode="before")(_a_share)

    @model_validator(mode="after")
    def _strides_rise(self) -> Similarity:
        if self.max_drop is not None and self.stride > self.max_stride:
            raise ValueError(
                "`similarity.stride <= similarity.max_stride` must hold, but got "
                f"(stride={self.stride}, max_stride={self.max_stride}): lower the one or raise the other"
            )
        return self

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        tree = self.model_dump(mode="json")
        if self.cka == "tokens":
            tree |= {"calibration_batch": None}
        if self.max_drop is None:
            tree |= {"max_stride": None}
        return tree


class Wanda(Settings):
    """One pruning of the linear layers of the blocks by |weight| · norm of its input; the kept weights go on as they
    are (Sun et al. 2023, arXiv:2306.11695)."""

    method: Literal["wanda"] = "wanda"
    sparsity: float = Field(default=0.5, gt=0, lt=1)
    """Share of each output row that is pruned afterwards, what was pruned before included (0, 1)"""
    pattern: str = "row"
    """`row` = anywhere in the row, `N:M` = N of every M inputs in a row stay, which says the sparsity, too"""
    mode: Literal["sequential", "one_pass"] = "sequential"
    """`sequential` = a block's inputs are measured with the blocks before it pruned, `one_pass` = all unpruned"""
    calibration: int = Field(default=1024, ge=1)
    """Examples of train on which inputs are measured; all, where there are fewer [count]"""
    epochs: int | None = Field(default=None, ge=0)
    """Epochs of retraining; 0 = measured as pruned, None = `training.epochs` [epochs]"""

    _shares = field_validator("sparsity", mode="before")(_a_share)

    @field_validator("pattern")
    @classmethod
    def _pattern_is_known(cls, value: str) -> str:
        found = re.fullmatch(r"(\d+):(\d+)", value)
        if value != "row" and not (found and 0 < int(found[1]) < int(found[2])):
            raise ValueError(f"`pattern` must be `row` or N:M with 0 < N < M, such as 2:4, but got {value!r}")
        return value

    @property
    def kept_of(self) -> tuple[int, int] | None:
        """(N, M) of an N:M pattern; None for rows."""
        if self.pattern == "row":
            return None
        n, m = map(int, self.pattern.split(":"))
        return n, m

    def meaning(self) -> dict[str, Any]:
        """Return the fields as plain values, those without a meaning here reset: what identity is made of."""
        tree = self.model_dump(mode="json")
        return tree if self.pattern == "row" else tree | {"sparsity": None}


Pruning = Magnitude | Similarity | Wanda
PRUNINGS: dict[str, type[Magnitude] | type[Similarity] | type[Wanda]] = {
    "magnitude": Magnitude,
    "similarity": Similarity,
    "wanda": Wanda,
}
