"""Trains an ablation: every cell with every seed, resuming what was started and skipping what is done.

  python -m harness.run --list                                     what there is
  python -m harness.run --ablation=quickstart                      train it, then print its table
  python -m harness.run --ablation=fashion_mlp --dry_run           what it would train, and what that costs
  python -m harness.run --ablation=fashion_mlp --only=seed=0       the runs whose name contains a text
  python -m harness.run --ablation=fashion_mlp --seeds=0,1,2,3,4   more seeds: runs already recorded are kept
  python -m harness.run --ablation=fashion_mlp --until_decided=0.5 --max_seeds=30   seeds added until each difference in
                                                                   validation accuracy is clear or within 0.5 points
  python -m harness.run --ablation=fashion_mlp --smoke             a minute's check that all of it trains
  python -m harness.run --ablation=cifar10_transfer --weights_dir=DIR   heads on a backbone: its features of all images
                                                                   are computed once, which may take minutes
  python -m harness.run --ablation=fashion_mlp --verbose           every epoch told; with --full all tables at the end
  python -m harness.run --ablation=fashion_mlp --tensorboard       with event files, live, for TensorBoard

An ablation of your own is a file anywhere that says ABLATION = Ablation(...); ablations/quickstart.py is a short one.
It may import what lies beside it, and its results go to a folder of its name. my_study.py:WIDTH names another
attribute, package.module:WIDTH a module's:

  python -m harness.run --ablation=quickstart,my_study.py          one after another

Results go to my_results/. Those in results/ came with the harness, from another machine: harness.report shows them,
and nothing is added to them unless --results_dir=results says so.

Overrides make a derived ablation with a folder of its own, so it never mixes with the ablation itself:

  python -m harness.run --ablation=fashion_mlp --epochs=5
  python -m harness.run --ablation=fashion_mlp --set=optimizer.learning_rate=0.01 --set=model.hidden=512,256

A metric of your own is a function in that file, ABLATION = Ablation(..., metrics={"kappa": kappa}), of some of
probabilities, logits, predicted, labels. It is computed from what is kept of each run, also of those recorded already,
and shown by harness.report --metric=kappa.

Stop it with Ctrl-C, SIGTERM, SIGHUP or SIGUSR1, and start it again with the same command: it goes on where it was. It
ends within ten seconds, with --distributed after the epoch; an epoch of more than five seconds is trained again. The
second such signal ends it at once, and the last checkpoints stay. A run that fails is recorded with its message, its
traceback beside the record, and the others train; --retry trains it again, and moves what it left to set_aside/. A
record that cannot be written, as on a full disk, is tried again every ten seconds until it is or you stop.

On a cluster: --executor=ray, --executor=slurm, --shard=I/N or --distributed; see harness/executors/README.md. Any
number of launches may share a results folder: each trains what no other does.

--replay=results/kmnist_mlp/runs/RUN/record.json trains that run again as it was, in the layout that it had, into a
temporary folder or --results_dir, and says "equal" or what differs first.

Exit codes: 0 all runs are recorded and at least one has not diverged; 75 stopped while it trained, with everything
saved, or other launches train the rest: run me again; 1 some run failed, all diverged, a replay differs, or the command
could not be carried out; 2 a flag is wrong; 128 and a signal's number: ended at once by it, as before training and
after.
"""

import dataclasses
import functools
import os
import pathlib
import signal
import sys
from collections.abc import Hashable, Iterator, Mapping

if not __package__:  # python harness/run.py, which puts that folder on the path
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while it imports, Ctrl-C ends it without a traceback

from absl import flags
from rich.console import Console

import ablations
from ablations import lookup, own_code, trial
from ablations.lookup import Study
from ablations.metrics import need_logits
from ablations.spec import Run, SpecError
from harness import cli, data, records
from harness.cli import cluster, overrides, replay
from harness.data import inputs
from harness.executors import sharing, worker
from harness.progress import dry_run
from harness.progress.clock import Clock
from harness.records import leftovers, pooling
from harness.records.files import check_writable, in_home
from harness.training import checkpoint, cost, environment, executor, keeping, planning, processes, scoring, stopping
from harness.training.failure import complaint
from harness.training.layout import asked_for
from harness.training.replay import Replay
from models.keras_weights import WeightsError

ABLATION = flags.DEFINE_multi_string(
    "ablation", [], "Ablation to train: a name that --list shows, a file such as my_study.py, or a module such as "
    "package.module; with :NAME where the ablation is not its ABLATION. Several, joined by commas or with the flag "
    "given again, are trained one after another.")
ONLY = flags.DEFINE_multi_string(
    "only", [], "Train only the runs whose name contains this text, or matches what stands between slashes, a regular "
    "expression; given again, those that any of them picks.")
UNTIL_DECIDED = flags.DEFINE_float(
    "until_decided", None, "Add seeds until the interval of each difference from the baseline in validation accuracy "
    "excludes zero or lies within so many points of it. The intervals allow for the looks.")
MAX_SEEDS = flags.DEFINE_integer("max_seeds", 30, "Most seeds that --until_decided may come to, in whole looks.")
RETRY = flags.DEFINE_list("retry", [], "Train again what is recorded as one of oom, error, diverged; what it left is "
                          "moved to set_aside/ of the ablation's folder.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the runs and what each costs, and train nothing.")
LIST = flags.DEFINE_bool("list", False, "Print every ablation with its question and number of runs.")
RESULTS_DIR = flags.DEFINE_string("results_dir", records.OWN_RESULTS, "Folder to write results into, one per ablation.")
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the data sets; default $TFDS_DATA_DIR, else ~/tensorflow_datasets.")
SKIP_UNREADABLE = flags.DEFINE_bool(
    "skip_unreadable", False, "Leave out pictures of a folder that cannot be read, and count them in the record.")
WEIGHTS_DIR = flags.DEFINE_string(
    "weights_dir", None, "Folder of Keras Applications' .h5 weight files; else the cache folder, else a download.")
DEVICES = flags.DEFINE_integer("devices", None, "Devices to use; default all, on a CPU one per core.", lower_bound=1)
PARALLEL = flags.DEFINE_enum(
    "parallel", "auto", ["auto", "jit", "pmap"], "What lays runs and batches out over the devices; auto "
    "is jit with shard_map, pmap is there for comparison.")
SAVE_EVERY_S = flags.DEFINE_float("save_every_s", 30, "Least seconds between two checkpoints.", lower_bound=0)
VERBOSE = flags.DEFINE_bool("verbose", False, "Print every epoch of every run, and what is compiled.")
FULL = flags.DEFINE_bool("full", False, "Print all of the report: every table and note.")
KEEP_WEIGHTS = flags.DEFINE_enum(
    "keep_weights", "best", list(keeping.STATES),
    "Which weights the first seed of each cell keeps beside its record, as model.safetensors with a config.json: those "
    "of the best validation epoch, of the last, or none. A run that is recorded without is not trained again.")
STORE_LOGITS = flags.DEFINE_bool(
    "store_logits", False, "Keep each run's logits on the test set, in half precision, with its predictions; without "
    "it they are kept where a metric of the ablation's own asks for them.")
LAYOUT = flags.DEFINE_string(
    "layout", None, "Layout that all runs train in, in the words of a record's placement.layouts, such as \"2 devices, "
    "one run on each\"; without it the fastest one is found out.")
REPLAY = flags.DEFINE_string(
    "replay", None, "Train the run of this record.json again, into a temporary folder or --results_dir, and compare.")
TENSORBOARD = flags.DEFINE_bool(
    "tensorboard", False, "Write TensorBoard's event files of what is trained, below <results_dir>/<ablation>/.")

for shared in (cluster, overrides):
    flags.adopt_module_key_flags(shared)  # for --help, which tells a module's own alone

# Errors that are the user's to mend, each with a one-line message.
EXPECTED = (cli.UsageError, OSError, SpecError, ablations.UnknownAblationError, data.DataError, records.RecordError,
            checkpoint.CheckpointError, environment.DeviceError, pooling.MixtureError, WeightsError,
            executor.BrokenError, *cluster.ERRORS)
_RETRIED = tuple(status for status in records.STATUSES if status != "done")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command asks of one ablation.

    Attributes:
      study: the ablation, overridden.
      runs: those to have.
      planned: those that the plan states.
      everything: all runs of the ablation, also those that were not asked for. How runs lie on the devices follows
        from these.
      folder: of its results.
      provenance: what its plan and records say of where it is written.
      rule: by which seeds are added; None if none are.
    """

    study: Study
    runs: list[Run]
    planned: list[Run]
    everything: list[Run]
    folder: records.Folder
    provenance: records.Provenance
    devices: int
    console: Console
    rule: records.Stopping | None = None

    def tell(self, line: str) -> None:
        """Prints a line as it stands."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """Carries out the command."""
    console = Console()
    if LIST.value:
        dry_run.show_all(console)
    elif REPLAY.value:
        replay.replay(REPLAY.value, console, functools.partial(_carry_out, console))
    else:
        _carry_out(console)


def _carry_out(console: Console, wanted: Replay | None = None) -> None:
    """Trains the ablations named, or of one of them the run that is wanted again."""
    names = [name for text in ABLATION.value for name in lookup.named(text)]
    if not names:
        raise cli.UsageError("--ablation=FILE.py or --ablation=NAME is needed (see --list), such as",
                             tuple(ablations.ABLATIONS))
    if MAX_SEEDS.present and UNTIL_DECIDED.value is None:
        raise cli.UsageError("--max_seeds belongs to --until_decided=POINTS: give both, or leave it out")
    if unknown := set(RETRY.value) - set(_RETRIED):
        raise cli.UsageError(f"--retry={','.join(RETRY.value)}: no run is recorded as {', '.join(sorted(unknown))}; "
                             "there are", _RETRIED)
    cluster.check(dry_run=DRY_RUN.value, own=[flag.name for flag in (LAYOUT, DEVICES) if flag.value is not None])
    cluster.join()
    # Before a file is loaded, which may use jax.
    present = environment.configure(DEVICES.value, pretended=cluster.PRETEND_DEVICES.value)
    devices = DEVICES.value if DEVICES.value and not processes.several() else present
    console = console if processes.is_first() else Console(quiet=True)
    with environment.numerics():
        all_asked = [_asked(study, devices, console) for study in map(lookup.find, dict.fromkeys(names))]
        if wanted is not None:
            all_asked = [dataclasses.replace(one, runs=[wanted.run_of(one.runs)]) for one in all_asked]
        _one_after_another(all_asked)


def _one_after_another(all_asked: list[Asked]) -> None:
    """Trains ablations in order; one that fails stops no other.

    Raises:
      cli.UsageError: at the end, if any failed.
    """
    failed, kinds = [], set[type[Exception]]()
    for asked in all_asked:
        own_code.use(asked.study.code)
        try:
            _launch(asked)
        except Exception as error:
            if len(all_asked) == 1 or isinstance(error, cli.StoppedError):
                raise
            failed.append(asked.study.name)
            kinds.add(type(error))
            cli.tell(error, f"{asked.study.name}: ", EXPECTED)
    if failed:
        kind = cli.UnfinishedError if kinds == {cli.UnfinishedError} else cli.UsageError
        raise kind(f"{len(failed)} of {len(all_asked)} ablations failed: {'; '.join(failed)}")


def _asked(study: Study, devices: int, console: Console) -> Asked:
    """Applies the flags to an ablation.

    Raises:
      cli.UsageError: if no run is left.
      records.RecordError: if its folder has another ablation's results.
    """
    own_seeds = study.ablation.seeds
    study = overrides.derived(study, DATA_DIR.value, skip_unreadable=SKIP_UNREADABLE.value)
    folder = records.Folder(in_home(RESULTS_DIR.value), study.name)
    provenance = folder.provenance(study.origin, study.hashes, study.overrides)
    if UNTIL_DECIDED.value is not None:
        return _asked_until_decided(study, folder, provenance, devices, console)
    every = study.runs()
    seeds = tuple(dict.fromkeys((*own_seeds, *study.ablation.seeds)))
    asked = Asked(study, every, every, study.runs(seeds), folder, provenance, devices, console)
    return dataclasses.replace(asked, runs=overrides.picked(study.name, every, ONLY.value, asked.tell))


def _asked_until_decided(study: Study, folder: records.Folder, provenance: records.Provenance, devices: int,
                         console: Console) -> Asked:
    given = [flag.name for flag in (ONLY, overrides.SMOKE, cluster.SHARD, cluster.DISTRIBUTED) if flag.value]
    if given := given or [f"set={trial.FIELD}"] * (trial.FIELD in study.overrides):
        raise cli.UsageError(f"--until_decided looks at all cells, in one process: leave out --{given[0]}")
    if len(study.ablation.comparisons()) < 2:
        raise cli.UsageError(f"--until_decided: {study.name} compares no cells")
    from harness.analysis import looks  # whose statistics take a second to import

    try:
        rule = looks.rule(UNTIL_DECIDED.value or 0.0, study.ablation.seeds, MAX_SEEDS.value)
    except ValueError as error:
        raise cli.UsageError(str(error)) from None
    runs = study.runs(rule.seeds)
    return Asked(study, runs, runs, runs, folder, provenance, devices, console, rule)


def _stages(asked: Asked) -> Iterator[Asked]:
    """Divides what is asked into what is trained before each look at it; without a rule there is one stage."""
    if (rule := asked.rule) is None:
        yield asked
        return
    from harness.analysis import looks

    for number in range(rule.looks):
        looked = looks.look(rule, asked.study.ablation.comparisons(), asked.folder.records(), most=number)
        if not looked.waiting:
            return
        batch = [run for run in asked.everything if run.seed in looked.seeds]
        runs = [run for run in batch if run.cell in looked.waiting or not number]
        first = [run for run in asked.everything if run.seed in rule.seeds[:rule.step] and number]
        decided = sum(one.answer != "open" for one in looked.outcomes.values())
        asked.tell(f"{asked.study.name}: up to {(number + 1) * rule.step} seeds, {len(rule.seeds)} at most; "
                   f"differences decided so far: {decided}")
        yield dataclasses.replace(asked, runs=runs, planned=[*first, *runs], everything=batch)


def _launch(asked: Asked) -> None:
    """Trains those of the runs that have no record, then reports all."""
    name, clock = asked.study.name, Clock()
    trained, known = list[records.RunRecord](), dict[str, records.RunRecord | None]()
    left = list[Run]()
    for stage in _stages(asked):
        new, absent, part = _trained(stage, clock)
        trained += new
        known |= {run.run_id: asked.folder.record(run.run_id) for run in part}
        left = [run for run in absent if known[run.run_id] is None]
        if left or (DRY_RUN.value and absent):  # a look at what is there would decide too early
            break
    if DRY_RUN.value or REPLAY.value or not processes.is_first():
        return
    others = sharing.elsewhere(asked.folder, left) or f"{len(left)} runs are left"  # as of the report
    scoring.score([run.run_id for run in asked.runs], asked.study.ablation.metrics, asked.folder, asked.tell)
    from harness import report  # its pictures and statistics take seconds to import

    report.report([str(asked.folder.results_dir)], [name], asked.console, full=FULL.value)
    if trained:
        asked.tell(clock.line())
    if wrong := complaint([record for record in known.values() if record], asked.folder):
        raise cli.UsageError(wrong)
    if left:
        raise cli.UnfinishedError(f"{others}; run the same command again when others have ended")


def _trained(asked: Asked, clock: Clock) -> tuple[list[records.RunRecord], list[Run], list[Run]]:
    """Trains those of the runs that have no record; of a dry run, tells what that would take.

    Returns:
      the new records, the runs that it was to train, and all that it answers for: of --shard its part, as long as any
      run is left.
    """
    name, folder, console, tell = asked.study.name, asked.folder, asked.console, asked.tell
    absent = executor.missing(asked.runs, folder, RETRY.value)
    if cluster.EXECUTOR.value == "local":  # a cluster's tasks look at their own devices
        environment.refuse_precisions({run.config.precision for run in absent})
    cluster.refuse([run.config for run in absent])
    if absent:
        check_writable(folder.path)
    # A part follows from all runs, whatever is recorded.
    part, counted = asked.runs, asked.runs if cluster.SHARD.value and absent else absent
    found = inputs.load_datasets([run.config for run in counted], DATA_DIR.value,
                                 skip_unreadable=SKIP_UNREADABLE.value, tell=tell)
    cost.check_whole(asked.study.uncut, found)
    costs = cost.measure_all(counted, found, tell)
    wanted = frozenset(run.run_id for run in absent)
    if counted is not absent:
        part = cluster.own_part(counted, found, costs)
        absent = [run for run in part if run.run_id in wanted]
    configs = [run.config for run in absent]
    tell(f"{name}: {len(asked.runs)} runs, {len(asked.runs) - len(wanted)} recorded, {len(absent)} to train, "
         f"in {RESULTS_DIR.value}/" + (f", as part {cluster.SHARD.value}" if cluster.SHARD.value else ""))
    for line in filter(None, (planning.edited(asked.study, asked.runs, wanted, folder),
                              sharing.elsewhere(folder, absent))):
        tell(line)
    if not asked.study.origin and (elsewhere := records.shipped_runs(folder)):
        tell(f"{records.SHIPPED_RESULTS}/ has {elsewhere} runs of it, trained elsewhere and never mixed with "
             f"these: python -m harness.report --results_dir={records.SHIPPED_RESULTS} --ablation={name}")
    launch = executor.Launch(asked.study.ablation.question, asked.everything, folder, SAVE_EVERY_S.value, asked.devices,
                             "pmap" if PARALLEL.value == "pmap" else "jit",
                             varied=asked.study.ablation.varied, provenance=asked.provenance,
                             keep_weights=KEEP_WEIGHTS.value, store_logits=STORE_LOGITS.value or need_logits(
                                 asked.study.ablation.metrics.values()),
                             wanted=wanted if cluster.SHARD.value or cluster.EXECUTOR.value != "local" else frozenset(),
                             layout=asked_for(LAYOUT.value, asked.devices))
    if DRY_RUN.value:
        if absent:
            found = inputs.with_weights(found, configs, WEIGHTS_DIR.value)
            cluster.foretell(launch, absent, found, costs, [str(folder.results_dir), records.SHIPPED_RESULTS],
                             [f"--ablation={asked.study.origin or name.partition(',')[0]}",
                              *cli.given("set", "precision", "results_dir", "data_dir", "weights_dir",
                                         "skip_unreadable")], console)
        return [], absent, part
    if absent:
        if cluster.EXECUTOR.value == "local":
            found = inputs.complete(found, configs, WEIGHTS_DIR.value, asked.devices, console)
        for warning in dict.fromkeys(warning for read in found.values() for warning in read.warnings):
            tell(f"warning: {warning}")
        return _train(asked, launch, absent, found, costs, clock), absent, part
    # The question or a claim may have been edited since; a part without runs may be the first to write anything.
    if (folder.path.exists() or wanted) and processes.is_first():
        try:
            leftovers.remove(folder.path)
            _write_plan(asked)
        except OSError as error:  # a finished study may lie where nobody may write
            tell(f"warning: the plan stays as it is: {error.strerror} ({error.filename})")
    return [], absent, part


def _train(asked: Asked, launch: executor.Launch, absent: list[Run], found: Mapping[Hashable, inputs.Inputs],
           costs: Mapping[str, records.Cost], clock: Clock) -> list[records.RunRecord]:
    launch.folder.path.mkdir(parents=True, exist_ok=True)
    cluster.check_first(launch, absent, found)
    if processes.is_first():
        leftovers.remove(launch.folder.path)
        _write_plan(asked)
    # Another process may have finished some while this one waited for its data.
    still_absent = executor.missing(absent, launch.folder, RETRY.value)
    source = worker.Source(asked.study.origin or asked.study.name.partition(",")[0], asked.study.overrides,
                           str(pathlib.Path.cwd()), DATA_DIR.value or os.environ.get("TFDS_DATA_DIR"),
                           SKIP_UNREADABLE.value, WEIGHTS_DIR.value)
    try:
        return cluster.train(launch, still_absent, found, costs, source, RETRY.value, clock, asked.console,
                             verbose=VERBOSE.value, tensorboard=TENSORBOARD.value)
    except stopping.StoppedError:
        raise cli.StoppedError(cluster.AFTERWARDS[cluster.EXECUTOR.value]) from None


def _write_plan(asked: Asked) -> None:
    asked.folder.write_plan(planning.plan(asked.study, asked.planned, asked.provenance, asked.rule),
                            asked.study.sources)


if __name__ == "__main__":
    cli.run(main, *EXPECTED)
