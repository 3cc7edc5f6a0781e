"""Rounds: the one place where a cycle meets torch; `run_cycle` computes those that the store does not have."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import torch
from torch import Tensor, nn

from lt_ray.chain import RewindEpoch, Round, chain, fractions, prunable_names, rewind_epochs, touches
from lt_ray.cycle import Cycle, Training
from lt_ray.models import registry
from lt_ray.pruning import magnitude
from lt_ray.pruning.masks import ZeroPruned
from lt_ray.pruning.restart import sharing, ticket
from lt_ray.results import Epoch, EpochResult, Measurement, RoundResult
from lt_ray.store import RoundStore, StoredRound
from lt_ray.tasks import text
from lt_ray.training.loop import Progress, Trainee, train
from lt_ray.training.measure import Batch, Measure, measure
from lt_ray.training.randomness import generators, order, seed_step

log = logging.getLogger("lt_ray")

Event = EpochResult | RoundResult
PARTIAL_EVERY_S = 60.0
_SIGN_OF_LIFE_S = 1.0
_MEASURING_TOKENS = 32_768


def run_cycle(
    cycle: Cycle,
    data: text.TextData,
    store: RoundStore,
    *,
    source: text.TextData | None = None,
    keep_epochs: Collection[RewindEpoch] = (),
    device: str | torch.device = "cpu",
    partial_every_s: float = PARTIAL_EVERY_S,
) -> Iterator[Event]:
    """Run a cycle: yield one `EpochResult` an epoch and one `RoundResult` a round, from round 0 on.

    A round in the store is loaded, any other computed and stored; a round that another process is computing is waited
    for. An event is yielded only once it would survive a kill, so epochs shorter than `partial_every_s` may come in
    groups. Stopping the generator anywhere and running the cycle again gives the same events, bit for bit (on one
    type of device and one number of threads), except for the fields in `results.TIMES`.

    - `data`: of the cycle's task; `source`: of its source task, where tickets come from there. Rounds that find tickets
      are computed, without events, where the store does not have them
    - `keep_epochs`: epochs of round 0 to keep for other cycles to rewind to, besides this cycle's own
    - `device`: where to train; torch's own generators are reseeded before every step
    - `partial_every_s`: the running state is saved after so many seconds, and at an epoch's end after a twelfth [s]

    Raises `DivergedError` when a training leaves the finite numbers.
    """
    run = _Run(cycle, data, source, store, frozenset(keep_epochs), torch.device(device), partial_every_s)
    for round in run.rounds:
        yield from run.events(round)


def round_result(cycle: Cycle, key: str, stored: StoredRound, prunable: Collection[str]) -> RoundResult:
    """Return a stored round as a row of one cycle.

    - `prunable`: the parameters over which the cycle counts sparsity, `prunable_names`
    """
    kept = sum(stored.counts[name][0] for name in prunable)
    size = sum(stored.counts[name][1] for name in prunable)
    return RoundResult(
        **stored.measurement.model_dump(),
        cycle=cycle.id,
        seed=cycle.seed,
        key=key,
        sparsity=1 - kept / size if size else 0.0,
        density=kept / size if size else 1.0,
        remaining=kept,
        prunable=size,
        source="computed" if stored.computed_by == cycle.id else "reused",
    )


def _epoch_result(cycle: Cycle, round: Round, epoch: Epoch) -> EpochResult:
    return EpochResult(**epoch.model_dump(), cycle=cycle.id, seed=cycle.seed, round=round.index)


@dataclass(frozen=True)
class _Outcome:
    """What training a round gave."""

    weights: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    progress: Progress
    restart_epoch: int | None
    test: Measure
    test_s: float
    redone_s: float


@dataclass(frozen=True)
class _Start:
    """Where a round's training starts."""

    weights: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    epoch: int
    """First epoch of the data order [epochs]"""
    restart_epoch: int | None


@dataclass(frozen=True)
class _Run:
    """One cycle on one data set, store and device."""

    cycle: Cycle
    data: text.TextData
    source: text.TextData | None
    store: RoundStore
    keep_epochs: frozenset[RewindEpoch]
    device: torch.device
    partial_every_s: float

    @cached_property
    def rounds(self) -> tuple[Round, ...]:
        return chain(self.cycle, self.data.digest, self.source.digest if self.source is not None else None)

    @cached_property
    def origin(self) -> _Run:
        """The cycle that finds this one's tickets, on the source task."""
        assert self.source is not None
        return dataclasses.replace(
            self, cycle=self.cycle.origin, data=self.source, source=None, keep_epochs=rewind_epochs([self.cycle.origin])
        )

    @cached_property
    def by_key(self) -> dict[str, Round]:
        """The rounds that others may start from."""
        return {round.key: round for round in self.rounds}

    @cached_property
    def module(self) -> nn.Module:
        """The model on the meta device."""
        return registry.build(self.cycle.model, self.data.rows, self.data.outputs)

    @cached_property
    def prunable(self) -> tuple[str, ...]:
        return prunable_names(self.cycle, self.module)

    def result(self, round: Round, stored: StoredRound) -> RoundResult:
        return round_result(self.cycle, round.key, stored, self.prunable)

    def events(self, round: Round) -> Generator[Event, None, None]:
        """Load or compute a round, yielding its epochs and itself."""
        told = 0
        stored = self.store.find(round.key, thorough=True)
        if stored is None:
            if round.transferred:
                self._find_ticket(round)
            with self.store.claim(round.key):
                stored = self.store.find(round.key, thorough=True)
                if stored is None:
                    computing = self.compute(round)
                    while stored is None:
                        try:
                            epoch = next(computing)
                        except StopIteration as finished:
                            stored = finished.value
                        else:
                            told += 1
                            yield _epoch_result(self.cycle, round, epoch)
        for epoch in stored.epochs[told:]:
            yield _epoch_result(self.cycle, round, epoch)
        yield self.result(round, stored)

    def _find_ticket(self, round: Round) -> None:
        """See to it that the store has the origin's rounds up to the one whose ticket is transferred."""
        for found in self.origin.rounds[: round.index + 1]:
            for _ in self.origin.events(found):
                pass

    def compute(self, round: Round) -> Generator[Epoch, None, StoredRound]:
        """Train a round from its partial state or its start, yielding each epoch once it is durable, and store it."""
        keep = self.keep_epochs | rewind_epochs([self.cycle]) if round.parent is None else frozenset[RewindEpoch]()
        outcome = yield from self._train(round, keep)
        return self.store.put(self._stored(round, outcome), outcome.weights, outcome.masks)

    def _stored(self, round: Round, outcome: _Outcome) -> StoredRound:
        history = outcome.progress.history
        # With early stopping the round ends with the best epoch's weights, else with the last one's.
        best = outcome.progress.best if self.cycle.training.patience is not None else history[-1]
        assert best is not None
        return StoredRound(
            key=round.key,
            inputs=round.inputs,
            measurement=Measurement(
                round=round.index,
                parameters=sum(weight.numel() for weight in outcome.weights.values()),
                restart_epoch=outcome.restart_epoch,
                epochs=len(history),
                best_epoch=best.epoch,
                train_loss=best.train_loss,
                train_accuracy=best.train_accuracy,
                val_loss=best.val_loss,
                val_accuracy=best.val_accuracy,
                test_loss=outcome.test.loss,
                test_accuracy=outcome.test.accuracy,
                train_s=sum(epoch.train_s for epoch in history),
                eval_s=sum(epoch.eval_s for epoch in history) + outcome.test_s,
                redone_s=outcome.redone_s,
                finished_at=time.time(),
            ),
            epochs=tuple(history),
            counts={name: (int(mask.sum()), mask.numel()) for name, mask in outcome.masks.items()},
            computed_by=self.cycle.id,
            made_with={
                "device": self.device.type,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "lt_ray": version("lt_ray"),
            },
        )

    def _train(
        self, round: Round, keep: Collection[RewindEpoch], last_epoch: int | None = None
    ) -> Generator[Epoch, None, _Outcome]:
        """Train a round, yielding durable epochs; `keep` names the epochs whose weights go to the store."""
        training = self.cycle.training
        start = self._start(round)
        model, trainee = self._trainee(start)
        redone_s = self.store.begin_work(round.key)
        partial = self.store.load_partial(round.key)
        if partial is not None:
            trainee.restore(partial[0], Progress.loads(partial[1]))
            log.info("round %s goes on at epoch %d", round.key, trainee.progress.epoch)
        durable = len(trainee.progress.history)
        yield from trainee.progress.history
        saved_at = alive_at = time.monotonic()
        for progress in train(
            trainee,
            last_epoch=last_epoch or training.epochs,
            batches=self._batches,
            validate=lambda model: self._measure(model, self.data.validation),
            seed_step=lambda epoch, step: seed_step(self.cycle.seed, epoch, step),
            after_step=ZeroPruned(dict(model.named_parameters()), start.masks),
            patience=training.patience,
            device=self.device,
            autocast=self._autocast,
        ):
            if time.monotonic() - alive_at >= _SIGN_OF_LIFE_S:
                self.store.show_life(round.key)
                alive_at = time.monotonic()
            epoch_ended = progress.step == 0
            if epoch_ended and progress.epoch in keep:
                self.store.put_rewind(round.key, progress.epoch, dict(model.named_parameters()))
            due_s = self.partial_every_s / 12 if epoch_ended else self.partial_every_s
            if time.monotonic() - saved_at >= due_s:
                position = (progress.epoch, progress.step)
                self.store.save_partial(round.key, trainee.state(), progress.dumps(), position)
                saved_at = time.monotonic()
                yield from progress.history[durable:]
                durable = len(progress.history)
        progress = trainee.progress
        if any(epoch == "last" or epoch > progress.epoch for epoch in keep):
            self.store.put_rewind(round.key, progress.epoch, dict(model.named_parameters()))
        return self._outcome(trainee, start, redone_s)

    def _outcome(self, trainee: Trainee, start: _Start, redone_s: float) -> _Outcome:
        """Measure on test, once, the weights the round ends with."""
        live = dict(trainee.model.named_parameters())
        with torch.no_grad():
            for name, weight in (trainee.best_weights or {}).items():
                live[name].copy_(weight)
        started = time.perf_counter()
        test = self._measure(trainee.model, self.data.test)
        return _Outcome(
            weights={name: parameter.detach().cpu().clone() for name, parameter in live.items()},
            masks=start.masks,
            progress=trainee.progress,
            restart_epoch=start.restart_epoch,
            test=test,
            test_s=time.perf_counter() - started,
            redone_s=redone_s,
        )

    def _trainee(self, start: _Start) -> tuple[nn.Module, Trainee]:
        model = registry.build(self.cycle.model, self.data.rows, self.data.outputs).to_empty(device=self.device)
        model.load_state_dict(dict(start.weights))
        return model, Trainee(model, _optimizer(self.cycle.training, model), Progress(epoch=start.epoch))

    def _batches(self, epoch: int, step: int) -> Iterator[Batch]:
        training = self.cycle.training
        permutation = order(self.cycle.seed, epoch, len(self.data.train)).numpy()
        return text.batches(self.data.train, permutation, training.batch_size, training.length_batches, start=step)

    def _measure(self, model: nn.Module, split: text.Split) -> Measure:
        with self._autocast():
            return measure(model, text.measuring_batches(split, _MEASURING_TOKENS), self.device)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.cycle.training.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    # What a round starts from

    def _start(self, round: Round) -> _Start:
        if round.pruning is None:
            masks = registry.initial_masks(self.module)
            return _Start(ticket(masks, self._initial()), masks, epoch=0, restart_epoch=None)
        finding = self.origin if round.transferred else self
        assert round.parent is not None
        masks, trained = finding._ticket(round)
        if round.pruning.restart == "rewind":
            epoch, weights = finding._rewound(round.pruning.rewind_epoch)
            first = epoch if round.pruning.rewind_budget == "resume" else 0
            return _Start(ticket(masks, weights), masks, epoch=first, restart_epoch=epoch)
        if round.pruning.restart == "random":
            drawn = registry.initial_weights(self.module, generators(self.cycle.seed, "reinit", round.index))
            trained = sharing(drawn, self._initial(), round.pruning.shared_start)
        return _Start(ticket(masks, trained), masks, epoch=0, restart_epoch=None)

    def _initial(self) -> dict[str, Tensor]:
        return registry.initial_weights(self.module, generators(self.cycle.seed, "init"))

    def _ticket(self, round: Round) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A round's masks, and the weights that its parent, one of this run's rounds, ended with: {} where nothing is
        made of them."""
        assert round.pruning is not None
        assert round.parent is not None
        parent = self.by_key[round.parent]
        if not round.transferred:
            trained = self._trained(parent)
            return self._prune(round, trained), trained
        needs_weights = round.pruning.restart == "final"
        return self.store.masks(parent.key), self._trained(parent) if needs_weights else {}

    def _prune(self, round: Round, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
        pruning = round.pruning
        assert pruning is not None
        assert round.parent is not None
        before = self.store.masks(round.parent)
        after = magnitude.prune(
            trained,
            before,
            pruning.fraction,
            scope=pruning.scope,
            rounding=pruning.rounding,
            names=touches(pruning, self.module),
            fractions=fractions(pruning, self.module),
        )
        if pruning.random_pruning:
            draws = generators(self.cycle.seed, "random pruning", round.index)
            after = magnitude.at_random(before, after, draws)
        return after

    def _trained(self, round: Round) -> dict[str, Tensor]:
        """The weights a finished round ended with; trained again where they were dropped."""
        weights = self.store.weights(round.key)
        if weights is None:
            log.warning("the weights of round %s were dropped and are trained again", round.key)
            weights = dict(_drained(self._train(round, keep=())).weights)
            self.store.put_weights_back(round.key, weights)
            self.store.drop_partial(round.key)
        return weights

    def _rewound(self, wanted: RewindEpoch) -> tuple[int, dict[str, Tensor]]:
        """Return (epoch, round 0's weights of that epoch): the last one trained where it stopped early."""
        if wanted == 0:
            return 0, self._initial()
        dense = self.rounds[0]
        stored = self.store.find(dense.key)
        assert stored is not None
        trained = stored.measurement.epochs
        epoch = trained if wanted == "last" else min(wanted, trained)
        weights = self.store.rewind(dense.key, epoch)
        if weights is None:
            log.warning("epoch %d of round %s was not kept and is trained again", epoch, dense.key)
            _drained(self._train(dense, keep={epoch}, last_epoch=epoch))
            self.store.drop_partial(dense.key)
            weights = self.store.rewind(dense.key, epoch)
            assert weights is not None
        return epoch, weights


def _optimizer(training: Training, model: nn.Module) -> torch.optim.Optimizer:
    parameters, lr, decay = model.parameters(), training.lr, training.weight_decay
    if training.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=lr, weight_decay=decay, fused=True)
    if training.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=decay, fused=True)
    return torch.optim.SGD(parameters, lr=lr, momentum=training.momentum, weight_decay=decay, fused=True)


def _drained(computing: Generator[Epoch, None, _Outcome]) -> _Outcome:
    while True:
        try:
            next(computing)
        except StopIteration as finished:
            outcome: _Outcome = finished.value
            return outcome
