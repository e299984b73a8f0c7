"""Training as pure functions of one run's state: step, epoch, validation, test.

Nothing here knows of other runs, files or time, and randomness follows from (seed, epoch, step) alone, so a resumed
run repeats an uninterrupted one.

The last batch of an epoch may be smaller. A network that is told which examples are padding gets it padded to the size
of the others. Any other network gets it as it is, by a second loop over the one batch of that shape, in training and in
evaluation: so its batch statistics are those of a plain loop over the same examples.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Int

import models
from ablations.spec import RunConfig
from harness.training import augmentation, batches, budget, class_weights, optimizer, schedule, update
from harness.training.batches import AUGMENT, DROPOUT, GENERATOR, INIT, STREAMS
from harness.training.budget import steps_per_epoch
from harness.training.state import (
    HISTORY,
    Chunk,
    Examples,
    Sums,
    TestResult,
    TrainState,
    Weights,
    is_active,
    no_sums,
    scored,
)
from models import plain, table
from models.precision import number_type
from models.transfer import is_backbone


@dataclasses.dataclass(frozen=True)
class Program:
    """What is fixed when a cohort is compiled: the network's structure and the config's untraced fields.

    Attributes:
      streams: shapes of the network's streams of randomness, which every call sets anew.
      whole_batches: whether the network must be given batches as they are; see `plain.needs_whole_batches`.
      num_classes: of the data.
      scored_at_once: examples of validation and test.
      keeps_logits: whether the outcome on the test set has them.
    """

    graph: Any
    config: RunConfig
    streams: Any
    whole_batches: bool
    num_classes: int
    scored_at_once: int
    keeps_logits: bool = False

    def network(self, weights: Weights, in_model: Any) -> nnx.Module:
        """Puts a network together from its structure, weights and traced values."""
        # A copy, since the forward pass updates the statistics at a deeper trace level than they come from.
        return nnx.merge(self.graph, weights.params, weights.statistics, in_model, self.streams, copy=True)


def init(config: RunConfig, seed: int, num_classes: int, input_shape: models.Shape, backbone: Any = None,
         train_examples: int | None = None) -> tuple[Program, TrainState, Any]:
    """Builds a run before its first step.

    Args:
      input_shape: of one example.
      backbone: with its weights, for a transfer network; None draws them at random.
      train_examples: how many there are; needed where the budget is in steps.

    Returns:
      the program, the state, and the run's traced values.

    Raises:
      ValueError: if the config does not fit the images.
    """
    if config.augment.is_on:
        config.augment.check_images(*input_shape)
    if config.tta != "none" and len(input_shape) == 1:
        raise ValueError(f"tta={config.tta} changes test images, and a frozen backbone's head reads features of them "
                         "that are computed once; give tta=none, or train part of the backbone")
    given = {} if backbone is None else {"backbone": backbone}
    network = plain.built(config.model, num_classes, input_shape, streams(seed), **given)
    graph, params, statistics, in_model, drawn = plain.split(network)
    class_weights.check(config, num_classes)
    transfers = isinstance(config.model, models.TransferConfig)
    optimizer.check(config.optimizer, has_statistics=any(
        isinstance(held, nnx.BatchStat) and not (transfers and is_backbone(path))
        for path, held in nnx.to_flat_state(statistics)))
    traced: dict[str, Any] = {
        "model": in_model, **jax.tree.map(jnp.float32, optimizer.traced_values(config.optimizer)),
        "label_smoothing": jnp.float32(config.label_smoothing), "mixup": jnp.float32(config.augment.mixup),
        "augment": augmentation.strengths(config.augment)}
    if config.ema_decay:
        traced["ema_decay"] = jnp.float32(config.ema_decay)
    if isinstance(config.model, models.TransferConfig) and not config.model.is_frozen:
        traced["fine_tune"] = jnp.float32(config.model.fine_tune_rate)
    weights = Weights(params, statistics)
    worst = jnp.float32(-jnp.inf)
    state = TrainState(
        weights=weights, opt_state=optimizer.build(config.optimizer, traced).init(params), seed=jnp.int32(seed),
        epoch=jnp.int32(0), step=jnp.int32(0), best=jax.tree.map(jnp.copy, weights), best_value=worst,
        best_epoch=jnp.int32(0), anchor=jnp.copy(worst), waited=jnp.int32(0), stopped=jnp.bool_(False),
        diverged=jnp.bool_(False), history=jnp.full((budget.epochs(config, train_examples), len(HISTORY)), jnp.nan),
        average=jax.tree.map(jnp.copy, weights) if config.ema_decay else None,
        non_finite=jnp.int32(0) if optimizer.survives_non_finite(config.optimizer) else None)
    drawn = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), drawn)
    return Program(graph, config, drawn, plain.needs_whole_batches(network), num_classes,
                   batches.scored_at_once(input_shape)), state, traced


def streams(seed: int) -> nnx.Rngs:
    """Gives the randomness that a run's network is built from."""
    root = jax.random.key(seed, impl=GENERATOR)
    return nnx.Rngs(jax.random.fold_in(root, STREAMS), params=jax.random.fold_in(root, INIT))


def abstract_init(config: RunConfig, num_classes: int, input_shape: models.Shape, train_examples: int | None = None
                  ) -> tuple[Program, TrainState, Any]:
    """Describes what `init` would build, allocating nothing: shapes and types stand for arrays.

    Raises:
      ValueError: in one line, if the config does not fit the images, or its network does not run on them.
    """
    programs = []

    def build() -> tuple[TrainState, Any]:
        program, state, traced = init(config, 0, num_classes, input_shape, train_examples=train_examples)
        programs.append(program)
        return state, traced

    state, traced = jax.eval_shape(build)
    cast = jax.eval_shape(lambda weights, in_model: _cast(weights, in_model, config.precision),
                          state.weights, traced["model"])
    plain.check(programs[0].network(*cast), num_classes, input_shape, config.precision)
    return programs[0], state, traced


def rows(program: Program, state: TrainState, traced: Any, input_shape: models.Shape) -> list[models.Row]:
    """Lists the layers of a run's network.

    Args:
      state, traced: or their abstract shapes.
    """
    return table.rows(program.network(state.weights, traced["model"]), input_shape)


def train_step(program: Program, state: TrainState, traced: Any, batch: Examples, mask: Bool[Array, " batch"],
               axis_name: str | None = None, relative_rate: optax.Schedule | None = None,
               weight_of: Float[Array, " class"] | None = None) -> tuple[TrainState, Sums]:
    """Updates the weights on one batch.

    Args:
      batch: at most `batch_size` examples; with `axis_name`, this device's share of them.
      mask: which examples are real; the rest are padding and change nothing.
      axis_name: mesh axis over which the batch is split, under `pmap` or `shard_map`; loss, gradient and batch
        statistics then cover all of it.
      relative_rate: see `schedule.relative`.
      weight_of: see `class_weights.of`.

    Returns:
      the state after the step, equal on all devices of the axis, and the batch's totals.
    """
    config = program.config
    images = batches.scaled(batch.images)
    places = batches.places(mask.size, axis_name)

    def key(use: int) -> Array:
        return batches.key(state.seed, use, state.step)

    if config.augment.changes_images:
        images = augmentation.augment(images, key(AUGMENT), places, config.augment, traced["augment"])
    mixed = traced["augment"] | ({"mixup": traced["mixup"]} if config.augment.mixup else {})
    mix = augmentation.mixing(key, mixed, places, mask, images.shape[1:3], axis_name)
    mode = models.Mode(True, key(DROPOUT), mask, axis_name, places)
    count, shards = mask.sum(), 1
    params, statistics = state.weights
    if axis_name:
        count, shards = lax.psum((count, 1), axis_name)
        # Marked as varying, the parameters get this device's part of the gradient, under pmap and shard_map alike.
        params, statistics = lax.pcast((params, statistics), axis_name, to="varying")

    def objective(params: Any) -> tuple[Array, tuple[Any, Sums]]:
        network = program.network(*_cast(Weights(params, statistics), traced["model"], config.precision))
        inputs = mix.images(images).astype(number_type(config.precision))
        logits = plain.forward(network, inputs, mode).astype(jnp.float32)
        classes = jax.nn.one_hot(batch.labels, logits.shape[-1])
        targets = optax.smooth_labels(classes, traced["label_smoothing"])
        if weight_of is not None:  # of two examples that are mixed each has its own
            targets *= (classes @ weight_of)[:, None]
        losses = optax.softmax_cross_entropy(logits, mix.targets(targets))
        nnx.update(network, params)  # as they are kept, with all their digits, they are penalized
        # A share of the mean over all devices, so that the shares and their gradients add up to the whole.
        share = jnp.where(mask, losses, 0).sum() / count + plain.penalty(network) / shards
        return share, (plain.statistics(network), _sums(logits, batch.labels, mask))

    gradient, (statistics, sums) = jax.grad(objective, has_aux=True)(params)
    if axis_name:
        gradient, sums = lax.psum((gradient, sums), axis_name)
        statistics = batches.agreed(statistics, axis_name)
    return update.advance(state, gradient, statistics, config, traced, relative_rate), sums


def train_epoch(program: Program, state: TrainState, traced: Any, train: Examples, steps: Int[Array, ""],
                axis_name: str | None = None, chunk: Chunk | None = None) -> tuple[TrainState, Sums]:
    """Trains on every example once, in an order drawn from the seed and the epoch; a finished run stays as it is.

    Args:
      train: all training examples, on every device; or those of a chunk.
      steps: how many to do; fewer than `steps_per_epoch` to time them.
      axis_name: mesh axis over which every batch is split.
      chunk: where in the epoch the examples stand, if they are not all: the steps from its first one on are done.

    Returns:
      the state, and the epoch's totals so far (zero for a finished run).
    """
    config = program.config
    labels = train.labels if chunk is None else chunk.labels
    size = labels.shape[0]
    relative_rate = schedule.relative(config, size)
    weight_of = class_weights.of(config, labels, program.num_classes)
    if config.steps:
        steps = jnp.minimum(steps, config.steps - state.epoch * steps_per_epoch(config, size))

    def epoch(state: TrainState) -> tuple[TrainState, Sums]:
        first: int | Array = 0
        if chunk is None:
            total, places = no_sums(), batches.shuffled(state.seed, state.epoch, size)
        else:  # it was shuffled so before
            first, total, places = chunk.first, chunk.trained, jnp.arange(size) - chunk.first * config.batch_size
        carried, left = (state, total), steps
        for order, real in batches.cut(places, config.batch_size, axis_name, program.whole_batches):

            def step(number: Array, carried: tuple[TrainState, Sums], order: Array = order, real: Array = real
                     ) -> tuple[TrainState, Sums]:
                state, total = carried
                batch = Examples(train.images[order[number]], train.labels[order[number]])
                state, sums = train_step(program, state, traced, batch, real[number], axis_name, relative_rate,
                                         weight_of)
                return state, jax.tree.map(jnp.add, total, sums)

            here = jnp.clip(left, 0, len(order)) if program.whole_batches else left
            # A second part is one batch: whichever chunk has it does all of it.
            carried, left, first = lax.fori_loop(first, here, step, carried), left - here, 0
        return carried

    def rest(state: TrainState) -> tuple[TrainState, Sums]:
        return state, no_sums()

    return lax.cond(is_active(state), epoch, rest, state)


def end_epoch(program: Program, state: TrainState, traced: Any, trained: Sums, validation: Examples,
             axis_name: str | None = None) -> tuple[TrainState, Sums]:
    """Ends an epoch: scores the validation set, keeps the best weights, and applies early stopping.

    Args:
      trained: the epoch's totals from `train_epoch`.
      axis_name: mesh axis over which the examples are split.

    Returns:
      the state, and the validation totals (zero for a finished run).
    """
    return end_validated_epoch(program, state, trained, lambda state: evaluate(
        program, scored(state), traced, validation, axis_name).sums)


def end_validated_epoch(program: Program, state: TrainState, trained: Sums, validated: Callable[[TrainState], Sums]
                        ) -> tuple[TrainState, Sums]:
    """Ends an epoch as `end_epoch`, with the validation totals that it is given."""
    config = program.config
    stopping = config.early_stopping
    monitor = stopping.monitor if stopping else "validation_accuracy"

    def ended(state: TrainState) -> tuple[TrainState, Sums]:
        sums = validated(state)
        row = jnp.stack([total / of.examples for of in (trained, sums) for total in (of.loss, of.correct)])
        history = state.history.at[state.epoch].set(row)
        epoch = state.epoch + 1
        value = row[HISTORY.index(monitor)] * (-1 if monitor.endswith("loss") else 1)
        diverged = ~jnp.isfinite(row).all()
        better = (value > state.best_value) & ~diverged
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), scored(state), state.best)
        advanced = value > state.anchor + (stopping.min_delta if stopping else 0)
        waited = jnp.where(advanced, 0, state.waited + 1)
        stopped = waited >= stopping.patience if stopping else jnp.bool_(False)
        return state._replace(
            epoch=epoch, history=history, best=best, best_value=jnp.where(better, value, state.best_value),
            best_epoch=jnp.where(better, epoch, state.best_epoch), anchor=jnp.where(advanced, value, state.anchor),
            waited=waited, stopped=stopped & (epoch < len(history)) & ~diverged, diverged=diverged), sums

    return lax.cond(is_active(state), ended, lambda state: (state, no_sums()), state)


def evaluate(program: Program, weights: Weights, traced: Any, examples: Examples, axis_name: str | None = None,
             tta: str = "none") -> TestResult:
    """Scores every example exactly once, in order; with `axis_name`, split over that mesh axis.

    Args:
      tta: what else each image is shown as; nothing but `tta_predicted` depends on it.
    """
    parts = evaluate_parts(program, weights, traced, examples, axis_name, tta)
    return joined(program, parts, examples.labels.size, axis_name)


def evaluate_parts(program: Program, weights: Weights, traced: Any, examples: Examples, axis_name: str | None,
                   tta: str) -> list[TestResult]:
    """Scores as `evaluate`, batch by batch.

    Returns:
      of each part that `batches.cut` makes, the outcome [step, ...] on this device's share of the batches.
    """
    parts = batches.cut(jnp.arange(examples.labels.size), program.scored_at_once, axis_name, program.whole_batches)
    cast = _cast(weights, traced["model"], program.config.precision)

    def score(chosen: tuple[Array, Array]) -> TestResult:
        batch, mask = chosen
        images = batches.scaled(examples.images[batch])

        def seen(images: Array) -> Array:
            inputs = images.astype(number_type(program.config.precision))
            return plain.forward(program.network(*cast), inputs, models.Mode(mask=mask)).astype(jnp.float32)

        logits, labels = seen(images), examples.labels[batch]
        averaged = None if tta == "none" else jnp.stack(
            [jax.nn.softmax(seen(view)) for view in augmentation.views(images, tta)]).sum(0).argmax(-1)
        return TestResult(_sums(logits, labels, mask), logits.argmax(-1), jax.nn.softmax(logits).max(-1),
                          _rank(logits, labels), logits if program.keeps_logits else None, averaged)

    return [lax.map(score, part) for part in parts]


def joined(program: Program, results: Sequence[TestResult], size: int, axis_name: str | None) -> TestResult:
    """Adds up and joins what `evaluate_parts` gives of so many examples."""
    sums = functools.reduce(functools.partial(jax.tree.map, jnp.add),
                             [jax.tree.map(lambda total: total.sum(0), part.sums) for part in results])
    outcomes = [part[1:] for part in results]
    if axis_name:
        sums = lax.psum(sums, axis_name)
        outcomes = lax.all_gather(outcomes, axis_name, axis=1, tiled=True)

    def in_a_row(*values: Array) -> Array:
        # A batch may have been padded to an equal share for every device.
        whole = [each[:, :program.scored_at_once].reshape(-1, *each.shape[2:]) for each in values]
        return jnp.concatenate(whole)[:size]

    return TestResult(sums, *jax.tree.map(in_a_row, *outcomes))


def score_test(program: Program, state: TrainState, traced: Any, examples: Examples, axis_name: str | None = None
               ) -> dict[str, TestResult]:
    """Scores the test set with the best and with the last weights of a run that has ended, of any other nothing."""
    tested = functools.partial(evaluate, tta=program.config.tta)
    return of_both(state, lambda weights: tested(program, weights, traced, examples, axis_name))


def of_both(state: TrainState, outcome: Callable[[Weights], Any]) -> dict[str, Any]:
    """Gives what comes of the best and of the last weights of a run that has ended, and zeros for any other."""
    def score(state: TrainState) -> Any:
        both = jax.tree.map(lambda best, last: jnp.stack([best, last]), state.best, scored(state))
        return lax.map(outcome, both)

    results = lax.cond(is_active(state), functools.partial(zeros, score), score, state)
    return {name: jax.tree.map(lambda leaf, index=index: leaf[index], results)
            for index, name in enumerate(("best", "last"))}


def zeros(function: Callable[..., Any], *arguments: Any) -> Any:
    """Gives zeros in the shape of what a function would give."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function, *arguments))


def _cast(weights: Weights, in_model: Any, precision: str) -> tuple[Weights, Any]:
    """Casts the parameters that are multiplied; running statistics and traced values keep their range in float32."""
    params = jax.tree.map(lambda leaf: leaf.astype(number_type(precision)), weights.params)
    return Weights(params, weights.statistics), in_model


def _sums(logits: Array, labels: Array, mask: Array) -> Sums:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    correct = (logits.argmax(-1) == labels) & mask
    return Sums(jnp.where(mask, losses, 0).sum(), correct.sum(), mask.sum())


def _rank(logits: Array, labels: Array) -> Array:
    """Counts the classes before the true one; of equal ones the first comes first, as for the highest."""
    own = jnp.take_along_axis(logits, labels[:, None], -1)
    before = (logits > own) | ((logits == own) & (jnp.arange(logits.shape[-1]) < labels[:, None]))
    return before.sum(-1)
