"""The flags of `harness.run` that derive an ablation from the one that is named."""

from collections.abc import Callable, Sequence

from absl import flags

from ablations import design as designs
from ablations import lookup, trial
from ablations.lookup import Study
from ablations.spec import Run
from harness import cli, data
from harness.data import inputs
from models.precision import PRECISIONS

SEEDS = flags.DEFINE_list("seeds", None, "Seeds to train instead of the ablation's own, such as 0,1,2.")
EPOCHS = flags.DEFINE_integer("epochs", None, "Override: epochs of every run.", lower_bound=1)
SET = flags.DEFINE_multi_string(
    "set", [], "Override: path=value, such as model.hidden=512,256, as Python writes it (True; 512, is one layer). "
    "Several are made in the order given.")
PRECISION = flags.DEFINE_enum("precision", None, list(PRECISIONS), "Override: precision of the forward and backward "
                              "passes. tf32 multiplies float32 on an NVIDIA GPU's tensor cores.")
SMOKE = flags.DEFINE_bool("smoke", False, "Override: every run is tried on 512 examples, or all if there are fewer, "
                          "for four updates at least, with one seed and no warm-up; --set=smoke=N tries N.")

_SMOKE_EXAMPLES = 512


def derived(study: Study, data_dir: str | None, *, skip_unreadable: bool) -> Study:
    """Applies the overriding flags.

    Args:
      data_dir, skip_unreadable: as `data.load` has them.

    Raises:
      cli.UsageError: if two of them say different things, or one would do nothing.
      ablations.spec.SpecError: if a setting does not fit.
    """
    settings = cli.settings(SET.value)
    for flag in (EPOCHS, PRECISION):
        if flag.value is not None and settings.get(flag.name, flag.value) != flag.value:
            raise cli.UsageError(f"--{flag.name}={flag.value} and --set={flag.name}={settings[flag.name]} say "
                                 "different things: leave out one of them")
    if EPOCHS.value is not None:
        if settings.get("steps") is not None:
            raise cli.UsageError(f"--epochs={EPOCHS.value} and --set=steps={settings['steps']} both say how long runs "
                                 "train: leave out one of them")
        if "steps" in study.ablation.varied and all(run.config.steps for run in study.ablation.runs()):
            raise cli.UsageError(f"--epochs={EPOCHS.value} would do nothing: a factor gives all runs a number of steps")
        settings["epochs"] = EPOCHS.value
    if PRECISION.value and any(run.config.precision != PRECISION.value for run in study.ablation.runs()):
        settings["precision"] = PRECISION.value
    seeds = study.ablation.seeds if SEEDS.value is None else designs.seeds(SEEDS.value)
    found = lookup.overridden(study, settings, seeds)
    if SMOKE.value and trial.FIELD not in settings:
        settings[trial.FIELD] = _examples(found.runs(), data_dir, skip_unreadable)
    return lookup.overridden(study, settings, seeds[:1]) if trial.FIELD in settings else found


def picked(name: str, runs: Sequence[Run], texts: Sequence[str], tell: Callable[[str], None]) -> list[Run]:
    """Picks an ablation's runs as --only says; a text that picks none is told beside others that do.

    Raises:
      cli.UsageError: if no run is left.
    """
    found = designs.picked(runs, texts)
    if not found:
        raise cli.UsageError(f'no run of {name} has "{", ".join(texts)}" in its name; the first is {runs[0].run_id}')
    for text in texts:
        if not designs.picked(runs, [text]):
            tell(f"warning: --only={text} picks no run of {name}; the first is {runs[0].run_id}")
    return found


def _examples(runs: Sequence[Run], data_dir: str | None, skip_unreadable: bool) -> int:
    """Counts what every run can be tried on, whichever are picked: a trial's folder is named by it."""
    try:
        found = inputs.load_datasets([run.config for run in runs], data_dir, skip_unreadable=skip_unreadable,
                                     tell=lambda line: None)
    except data.DataError:  # which is told where the runs' data are loaded
        return _SMOKE_EXAMPLES
    return min([_SMOKE_EXAMPLES, *(len(read.dataset.train.labels) for read in found.values())])
