"""Rounds: the one place where a cycle meets torch; `run_cycle` computes those that the store does not have."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.prunings import Restarting
from lt_ray.cycle.results import ROUNDING, Epoch, EpochResult, Measurement, RoundResult
from lt_ray.models.model import Model, model_of
from lt_ray.models.pretrained import Base
from lt_ray.pruning.masks import ZeroPruned, masked
from lt_ray.rounds.chain import RewindEpoch, Round, chain, prunable_names, rewind_epochs
from lt_ray.rounds.measuring import MEASURED, Measured, Measuring
from lt_ray.rounds.methods.method import Context, method_of
from lt_ray.rounds.outcome import Trained, epoch_result, round_result, stored_round
from lt_ray.rounds.start import Start, sharing
from lt_ray.store.store import RoundStore, StoredRound
from lt_ray.tasks.task import Data
from lt_ray.training.batch import Batch
from lt_ray.training.loop import Progress, Recipe, Trainee, train
from lt_ray.training.optimizer import optimizer, rate
from lt_ray.training.randomness import generators, order

log = logging.getLogger("lt_ray")

Event = EpochResult | RoundResult
PARTIAL_EVERY_S = 60.0
_SIGN_OF_LIFE_S = 1.0


def run_cycle(
    cycle: Cycle,
    data: Data,
    store: RoundStore,
    *,
    source: Data | None = None,
    base: Base | None = None,
    keep_epochs: Collection[RewindEpoch] = (),
    device: str | torch.device = "cpu",
    partial_every_s: float = PARTIAL_EVERY_S,
) -> Iterator[Event]:
    """Run a cycle: yield one `EpochResult` an epoch and one `RoundResult` a round, from round 0 on.

    A round in the store is loaded, any other computed and stored; a round that another process is computing is waited
    for. An event is yielded only once it would survive a kill, so epochs shorter than `partial_every_s` may come in
    groups. Stopping the generator anywhere and running the cycle again gives the same events, bit for bit (on one
    type of device and one number of threads), except for the fields in `results.TIMES`.

    - `data`: of the cycle's task; `source`: of its source task, where tickets come from there. Rounds that find the
      tickets it takes are computed, without events, where the store does not have them
    - `base`: what an encoder is made of
    - `keep_epochs`: epochs of round 0 to keep for other cycles to rewind to, besides this cycle's own
    - `device`: where to train; torch's own generators are reseeded before every step
    - `partial_every_s`: the running state is saved after so many seconds, and at an epoch's end after a twelfth [s]

    Raises `DivergedError` when a training leaves the finite numbers.
    """
    run = _Run(cycle, data, source, base, store, frozenset(keep_epochs), torch.device(device), partial_every_s)
    for round in run.rounds:
        yield from run.events(round)


@dataclass(frozen=True)
class _Run:
    """One cycle on one data set, store and device."""

    cycle: Cycle
    data: Data
    source: Data | None
    base: Base | None
    store: RoundStore
    keep_epochs: frozenset[RewindEpoch]
    device: torch.device
    partial_every_s: float

    @cached_property
    def rounds(self) -> tuple[Round, ...]:
        return chain(self.cycle, self.data.digest, self.source.digest if self.source is not None else None)

    @cached_property
    def origin(self) -> _Run:
        """The cycle that finds this one's tickets: on the source task, or the ticket's of a control."""
        cycle = self.cycle.origin
        if self.cycle.tickets == "own":
            return dataclasses.replace(self, cycle=cycle, keep_epochs=self.keep_epochs | rewind_epochs([cycle]))
        assert self.source is not None
        return dataclasses.replace(self, cycle=cycle, data=self.source, source=None, keep_epochs=rewind_epochs([cycle]))

    @cached_property
    def by_key(self) -> dict[str, Round]:
        """The rounds that others may start from."""
        return {round.key: round for round in self.rounds}

    @cached_property
    def model(self) -> Model[Any]:
        """The model on this data."""
        return model_of(self.cycle.model, self.data.facts, self.base)

    @cached_property
    def measuring(self) -> Measuring:
        """What measures the models of this cycle."""
        return Measuring(self.data, self.cycle.metrics, self.device, self.cycle.training.precision)

    @cached_property
    def prunable(self) -> tuple[str, ...]:
        return prunable_names(self.cycle, self.model)

    def events(self, round: Round) -> Generator[Event, None, None]:
        """Load or compute a round, yielding its epochs and itself."""
        yielded = 0
        stored = self.store.find(round.key, thorough=True)
        if stored is None:
            if round.taken or round.counted is not None:
                for earlier in self.origin.rounds[: round.index + 1]:  # whose ticket it takes
                    for _ in self.origin.events(earlier):
                        pass
            with self.store.claim(round.key):
                stored = self.store.find(round.key, thorough=True)
                if stored is None:
                    for epoch in self.compute(round):
                        yielded += 1
                        yield epoch_result(self.cycle, round.index, epoch)
                    stored = self._stored(round.key)
        for epoch in stored.epochs[yielded:]:
            yield epoch_result(self.cycle, round.index, epoch)
        yield round_result(self.cycle, round.key, stored, self.prunable)

    def compute(self, round: Round) -> Iterator[Epoch]:
        """Train a round from its partial state or its start, yielding each epoch once it is durable, and store it."""
        keep = self.keep_epochs | rewind_epochs([self.cycle]) if round.parent is None else frozenset[RewindEpoch]()
        outcome = yield from self._train(round, keep)
        stored = stored_round(round, outcome, self.cycle, self.data, self.model)
        accepted = {"accepted": self._accepted(round, stored.measurement)}
        stored = stored.model_copy(update={"measurement": stored.measurement.model_copy(update=accepted)})
        self.store.put(stored, outcome.weights, outcome.start.masks, outcome.after.test.answers)

    def _accepted(self, round: Round, measurement: Measurement) -> bool | None:
        """Whether a round lost no more than its pruning allows; None where that has no such rule."""
        if round.pruning is None or round.pruning.may_lose is None:
            return None
        return measurement.lost(self._stored(round.dense).measurement) <= round.pruning.may_lose + ROUNDING

    def _train(
        self, round: Round, keep: Collection[RewindEpoch], last_epoch: int | None = None
    ) -> Generator[Epoch, None, Trained]:
        """Train a round, yielding durable epochs; `keep` names the epochs whose weights go to the store."""
        redone_s = self.store.begin_work(round.key)
        saved_at = alive_at = time.monotonic()
        partial = self.store.load_partial(round.key)
        if partial is None:
            start = self._start(round)
            trainee, before = self._trainee(start), None
            if start.goes_on:
                before = self.measuring.both(trainee)
        else:
            tensors, tree = partial[0], json.loads(partial[1])
            weights = {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
            start = Start.loaded(tensors, tree["start"], weights)
            before = MEASURED.validate_python(tree["before"])
            trainee = self._trainee(start)
            trainee.restore(tensors, Progress.loads(tree["progress"]))
            log.info("round %s goes on at epoch %d", round.key, trainee.progress.epoch)
        fixed = start.tensors()
        fixed_tree = {"start": start.tree(), "before": MEASURED.dump_python(before)}
        last = self.cycle.epochs_of(round.pruning) if start.trains else start.epoch
        durable = len(trainee.progress.history)
        yield from trainee.progress.history
        for progress in train(trainee, self._recipe(trainee, start, last), last if last_epoch is None else last_epoch):
            if time.monotonic() - alive_at >= _SIGN_OF_LIFE_S:
                self.store.show_life(round.key)
                alive_at = time.monotonic()
            epoch_ended = progress.step == 0
            if epoch_ended and progress.epoch in keep:
                self.store.put_rewind(round.key, progress.epoch, trainee.live)
            due_s = self.partial_every_s / 12 if epoch_ended else self.partial_every_s
            if time.monotonic() - saved_at >= due_s:
                position = (progress.epoch, progress.step)
                whole = json.dumps({**fixed_tree, "progress": progress.dumps()})
                self.store.save_partial(round.key, trainee.state() | fixed, whole, position)
                saved_at = time.monotonic()
                yield from progress.history[durable:]
                durable = len(progress.history)
        progress = trainee.progress
        if any(epoch == "last" or epoch > progress.epoch for epoch in keep):
            self.store.put_rewind(round.key, progress.epoch, trainee.live)
        return self._outcome(trainee, start, before, redone_s)

    def _outcome(self, trainee: Trainee, start: Start, before: Measured | None, redone_s: float) -> Trained:
        """Measure on test the weights the round ends with."""
        with torch.no_grad():
            for name, weight in (trainee.best_weights or {}).items():
                trainee.live[name].copy_(weight)
        # A round that trained nothing ends as it was pruned.
        after = before if before is not None and not trainee.progress.history else self.measuring.both(trainee)
        return Trained(
            weights={name: tensor.detach().cpu().clone() for name, tensor in trainee.live.items()},
            start=start,
            before=before,
            progress=trainee.progress,
            after=after,
            latency=None if start.blocks is None else self.measuring.latency(trainee),
            redone_s=redone_s,
            device=self.device.type,
        )

    def _trainee(self, start: Start) -> Trainee:
        module = self.model.live(start.weights, start.blocks, self.device, start.frozen)
        made = optimizer(self.cycle.training, dict(module.named_parameters()), self.model.undecayed_names(module))
        forward: Callable[[Tensor], Tensor] = partial(self.model.forward, module)
        if self.cycle.training.channels_last and self.data.facts.inputs == "images":
            forward = channels_last(module, forward)
        progress, live = Progress(epoch=start.epoch), self.model.state(module)
        return Trainee(module, made, progress, forward=forward, live=live)

    def _recipe(self, trainee: Trainee, start: Start, last_epoch: int) -> Recipe:
        """How a round trains from its start.

        - `last_epoch`: of the whole round, which the learning rate is a function of [epochs]
        """
        training = self.cycle.training
        return Recipe(
            training=training,
            learnt=self.data,
            meter=self.measuring.meter,
            metric=self.cycle.metric,
            batches=self._batches,
            validate=lambda: self.measuring.split(trainee, "validation"),
            seed=self.cycle.seed,
            zeros=ZeroPruned(dict(trainee.model.named_parameters()), start.masks),
            device=self.device,
            autocast=self.measuring.autocast,
            lr_at=rate(training, math.ceil(self.data.examples("train") / training.batch_size), last_epoch),
        )

    def _batches(self, epoch: int, step: int) -> Iterator[Batch]:
        training = self.cycle.training
        permutation = order(self.cycle.seed, epoch, self.data.examples("train")).numpy()
        size, by_length, seed = training.batch_size, training.length_batches, self.cycle.seed
        return self.data.epoch(permutation, size, by_length=by_length, first=step, seed=seed, epoch=epoch)

    # What a round starts from

    def _start(self, round: Round) -> Start:
        pruning = round.pruning
        if pruning is None:
            masks = self.model.initial_masks()
            return Start(masked(self._initial(), masks), masks, self.model.blocks)
        finding = self.origin if round.taken else self
        start = finding._ticket(round)
        if not isinstance(pruning, Restarting) or pruning.restart == "final":
            return start
        if pruning.restart == "rewind":
            epoch, weights = finding._rewound(pruning.rewind_epoch)
            first = epoch if pruning.rewind_budget == "resume" else 0
        else:
            first, epoch = 0, None
            drawn = self.model.drawn(generators(self.cycle.seed, "reinit", round.index))
            weights = sharing(drawn, self._initial(), pruning.shared_start)
        weights = masked(self.model.cut(weights, start.blocks), start.masks)
        return dataclasses.replace(start, weights=weights, epoch=first, restart_epoch=epoch, goes_on=False)

    def _initial(self) -> dict[str, Tensor]:
        return self.model.initial(generators(self.cycle.seed, "init"))

    def _ticket(self, round: Round) -> Start:
        """A round's masks and blocks, with the weights that its parent, one of this run's rounds, ended with: {} where
        nothing is made of them."""
        assert round.pruning is not None
        assert round.parent is not None
        parent = self.by_key[round.parent]
        if round.taken:
            weights = self._trained(parent) if round.needs_weights else {}
            masks, stored = self.store.masks(parent.key), self._stored(parent.key)
            return Start(weights, masks, stored.blocks, stored.frozen, goes_on=round.needs_weights)
        kept = None
        if round.counted is not None:
            kept = {name: int(mask.sum()) for name, mask in self.store.masks(round.counted).items()}
        accepted = next(a for a in self._ancestors(round) if self._stored(a.key).measurement.accepted is not False)
        stored = self._stored(accepted.key)
        start = Start(
            self._trained(accepted),
            self.store.masks(accepted.key),
            stored.blocks,
            stored.frozen,
            start_round=None if stored.blocks is None else accepted.index,
            goes_on=True,
        )
        context = Context(
            accepted.key,
            self.model,
            self.data,
            self.cycle.seed,
            round.index,
            self.store,
            self.device,
            initial=self._initial,
            earlier=lambda: [self._stored(ancestor.key).measurement for ancestor in self._ancestors(round)],
            counts=kept,
        )
        return method_of(round.pruning).prune(start, context)

    def _ancestors(self, round: Round) -> Iterator[Round]:
        """The rounds that a round comes from, the latest first."""
        while round.parent is not None:
            round = self.by_key[round.parent]
            yield round

    def _stored(self, key: str) -> StoredRound:
        """A round that is finished."""
        stored = self.store.find(key)
        assert stored is not None
        return stored

    def _trained(self, round: Round) -> dict[str, Tensor]:
        """The weights a finished round ended with; trained again where they were dropped."""
        weights = self.store.weights(round.key)
        if weights is None:
            log.warning("the weights of round %s were dropped and are trained again", round.key)
            weights = dict(_returned(self._train(round, keep=())).weights)
            self.store.put_weights_back(round.key, weights)
            self.store.drop_partial(round.key)
        return weights

    def _rewound(self, wanted: RewindEpoch) -> tuple[int, dict[str, Tensor]]:
        """Return (epoch, round 0's weights of that epoch): the last one trained where it stopped early."""
        if wanted == 0:
            return 0, self._initial()
        dense = self.rounds[0]
        trained = self._stored(dense.key).measurement.epochs
        epoch = trained if wanted == "last" else min(wanted, trained)
        weights = self.store.rewind(dense.key, epoch)
        if weights is None:
            log.warning("epoch %d of round %s was not kept and is trained again", epoch, dense.key)
            _returned(self._train(dense, keep={epoch}, last_epoch=epoch))
            self.store.drop_partial(dense.key)
            weights = self.store.rewind(dense.key, epoch)
            assert weights is not None
        return epoch, weights


def _returned(computing: Generator[Epoch, None, Trained]) -> Trained:
    """Run a computation to its end and return what it returns."""
    while True:
        try:
            next(computing)
        except StopIteration as end:
            trained: Trained = end.value
            return trained


def channels_last(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a forward pass of pictures whose channels are innermost in memory, as the module's own maps then are.

    A convolution of 1 × 1 that skips pixels and has fewer than 8 inputs gets its maps as they usually lie: its backward
    pass ends the process where channels are innermost (torch 2.15 on a CPU with AVX2, by oneDNN).
    """
    for layer in module.modules():
        narrow = isinstance(layer, nn.Conv2d) and layer.in_channels < 8
        if narrow and layer.kernel_size == (1, 1) and layer.stride != (1, 1):
            layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
    return lambda inputs: forward(inputs.contiguous(memory_format=torch.channels_last))
