"""Writes TensorBoard's event files while runs train, without TensorFlow.

A run's files are in `<results_dir>/<ablation>/tensorboard/<run_id>/`. Each launch writes its whole history anew, from
the state it resumes, so that a kill can neither lose nor double a point.
"""

import contextlib
import functools
import pathlib
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import api_pb2, event_pb2, plugin_hparams_pb2, summary_pb2

from ablations.spec import Run
from harness.data import Dataset, inputs
from harness.data.inputs import Inputs
from harness.progress import contact_sheet
from harness.records import Folder, RunRecord
from harness.training import train
from harness.training.watcher import Ended, Epoch, Started, Watcher

SCALARS = dict(zip(train.HISTORY, ("loss/train", "accuracy/train", "loss/validation", "accuracy/validation"),
                   strict=True))
SPEED = "speed/train_examples_per_s"
_BINS = 50
_FLUSH_S = 2.0


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Lets no failure to write reach the training: it is told once, and from then on nothing is written."""
    @functools.wraps(method)
    def guarded(self: "EventFiles", *args: Any) -> None:
        if self.broken:
            return
        try:
            method(self, *args)
        except Exception as error:  # whatever it is, hours of training are worth more than event files
            self.broken = True
            self.complain(f"event files for TensorBoard are no longer written: {type(error).__name__}: {error}")
            for writer in self.writers.values():
                with contextlib.suppress(Exception):
                    writer.close()
    return guarded


class _Writer:
    """One run's event file. It is written in the calling thread: tensorboardX's own thread would swallow errors."""

    def __init__(self, folder: pathlib.Path):
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads a folder's files in the order of their names. Earlier ones stay: one that it has open and
        # cannot find any more keeps it from going on.
        self._events = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        self._flushed = time.monotonic()
        # TensorBoard then drops what earlier files hold from this step on: everything.
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._events.write_event(event_pb2.Event(wall_time=time.time(), step=0, session_log=start))

    def add(self, what: summary_pb2.Summary, step: int = 0, wall_time: float | None = None) -> None:
        """Adds a summary; it is on the disk within some seconds."""
        now = time.time() if wall_time is None else wall_time
        self._events.write_event(event_pb2.Event(wall_time=now, step=step, summary=what))
        if time.monotonic() - self._flushed > _FLUSH_S:
            self._events.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        self._events.close()


class EventFiles(Watcher):
    """Writes scalars as runs train, and histograms, images and the outcome of the session as they end.

    Attributes:
      complain: told, once, why nothing is written any more.
      broken: whether that has happened.
      writers: run_id -> the file of each run in training.
    """

    def __init__(self, folder: Folder, found: Mapping[Hashable, Inputs], complain: Callable[[str], None]):
        self.complain, self.broken = complain, False
        self._folder, self._found = folder, found
        self.writers: dict[str, _Writer] = {}

    @_harmless
    def starting(self, started: Started) -> None:
        run, epochs_s = started.run, started.epochs_s
        if run.run_id in self.writers:  # it starts again with fewer beside it
            self.writers.pop(run.run_id).close()
        writer = self.writers[run.run_id] = _Writer(self._folder.tensorboard / run.run_id)
        writer.add(_session_start(run))
        examples = len(self._dataset(run).train.labels[:run.config.train_size])
        now = time.time()
        for epoch, row in enumerate(started.history, start=1):
            scores = dict(zip(train.HISTORY, map(float, row), strict=True))
            # When it really was is not known: as long before now as training alone takes.
            _add_epoch(writer, epoch, scores, examples / epochs_s[epoch - 1], now - sum(epochs_s[epoch:]))

    @_harmless
    def epochs(self, epochs: Sequence[Epoch]) -> None:
        now = time.time()
        for epoch in epochs:
            _add_epoch(self.writers[epoch.run.run_id], epoch.epoch, epoch.scores, epoch.examples / epoch.train_s, now)

    @_harmless
    def ended(self, ended: Ended) -> None:
        writer = self.writers[ended.run.run_id]
        if not ended.diverged:
            for name, epoch in (("best", ended.best_epoch), ("last", ended.epoch)):
                sums = ended.test[name].sums
                examples = int(sums.examples)
                writer.add(summary.scalar(f"test/{name}_accuracy", int(sums.correct) / examples), epoch)
                writer.add(summary.scalar(f"test/{name}_loss", float(sums.loss) / examples), epoch)
            self._add_weights(writer, ended)
        self._close(ended.run, not ended.diverged)

    @_harmless
    def finished(self, run: Run, record: RunRecord) -> None:
        if run.run_id in self.writers:  # out of memory or in error: it did not come to its end
            self._close(run, False)

    @_harmless
    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()

    def _close(self, run: Run, success: bool) -> None:
        writer = self.writers.pop(run.run_id)
        writer.add(_session_end(success))
        writer.close()

    def _add_weights(self, writer: _Writer, ended: Ended) -> None:
        """Adds what the best weights are, see and get wrong."""
        step, dataset = ended.best_epoch, self._dataset(ended.run)
        weights = _named(ended.best)
        for name, values in weights.items():
            counts, edges = np.histogram(values, _BINS)
            writer.add(summary.histogram_raw(
                f"weights/{name}", min=values.min(), max=values.max(), num=values.size, sum=values.sum(),
                sum_squares=np.square(values).sum(), bucket_limits=edges[1:].tolist(), bucket_counts=counts.tolist()),
                step)
        best = ended.test["best"]
        first = next((values for name, values in weights.items() if name.endswith("kernel")), np.zeros(0))
        sheets = {
            "first_layer/filters": contact_sheet.filters(first, dataset.image_shape),
            "test/most_confident_mistakes": contact_sheet.mistakes(
                np.asarray(dataset.test.images), dataset.test.labels, np.asarray(best.predicted),
                np.asarray(best.probability), dataset.class_names)}
        for tag, sheet in sheets.items():
            if sheet is not None:
                writer.add(summary.image(tag, sheet, dataformats="HWC"), step)

    def _dataset(self, run: Run) -> Dataset:
        return self._found[inputs.key(run.config)].dataset


def _add_epoch(writer: _Writer, epoch: int, scores: Mapping[str, float], speed: float, wall_time: float) -> None:
    for tag, value in {**{SCALARS[name]: score for name, score in scores.items()}, SPEED: speed}.items():
        writer.add(summary.scalar(tag, np.float64(value)), epoch, wall_time)


def _session_start(run: Run) -> summary_pb2.Summary:
    """States the run's place in the grid, a column of TensorBoard's HParams page for each factor and for the seed."""
    _, start, _ = summary.hparams({**run.labels, "seed": run.seed}, {})
    return start


def _session_end(success: bool) -> summary_pb2.Summary:
    _, _, end = summary.hparams({}, {})
    if not success:
        plugin = end.value[0].metadata.plugin_data
        data = plugin_hparams_pb2.HParamsPluginData.FromString(plugin.content)
        data.session_end_info.status = api_pb2.STATUS_FAILURE
        plugin.content = data.SerializeToString()
    return end


def _named(params: Any) -> dict[str, np.ndarray]:
    """Names all weights by their place in the network, such as layers/0/kernel."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {"/".join(str(key.key) for key in path if isinstance(key, jax.tree_util.DictKey)): np.asarray(leaf)
            for path, leaf in leaves}
