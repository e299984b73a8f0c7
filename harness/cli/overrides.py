"""The flags of `harness.run` that derive an ablation from the one that is named."""

from absl import flags

from ablations import design as designs
from ablations import lookup
from ablations.lookup import Study
from harness import cli, data
from harness.cli import cluster
from harness.data import inputs
from models.precision import PRECISIONS

SEEDS = flags.DEFINE_list("seeds", None, "Seeds to train instead of the ablation's own, such as 0,1,2.")
EPOCHS = flags.DEFINE_integer("epochs", None, "Override: epochs of every run.", lower_bound=1)
SET = flags.DEFINE_multi_string(
    "set", [], "Override: path=value, such as model.hidden=512,256, as Python writes it (True; 512, is one layer). "
    "Several are made in the order given.")
PRECISION = flags.DEFINE_enum("precision", None, list(PRECISIONS), "Override: precision of the forward and backward "
                              "passes. tf32 multiplies float32 on an NVIDIA GPU's tensor cores.")
SMOKE = flags.DEFINE_bool("smoke", False, "Override: an epoch on 512 examples, or all if there are fewer, one seed, "
                          "without warm-up; of cells that differ in nothing else, one.")

_SMOKE_EXAMPLES = 512


def derived(study: Study, data_dir: str | None, *, skip_unreadable: bool) -> Study:
    """Applies the overriding flags.

    Args:
      data_dir, skip_unreadable: as `data.load` has them.

    Raises:
      cli.UsageError: if two of them say different things, or workers could not derive the same.
      ablations.spec.SpecError: if a setting does not fit.
    """
    settings = cli.settings(SET.value)
    for flag in (EPOCHS, PRECISION):
        if flag.value is not None and settings.get(flag.name, flag.value) != flag.value:
            raise cli.UsageError(f"--{flag.name}={flag.value} and --set={flag.name}={settings[flag.name]} say "
                                 "different things: leave out one of them")
    if EPOCHS.value is not None:
        settings["epochs"] = EPOCHS.value
    if PRECISION.value and any(run.config.precision != PRECISION.value for run in study.ablation.runs()):
        settings["precision"] = PRECISION.value
    seeds = study.ablation.seeds if SEEDS.value is None else designs.seeds(SEEDS.value)
    whole = lookup.overridden(study, settings, seeds)
    if not SMOKE.value:
        return whole
    found = lookup.overridden(study, settings, seeds[:1], smoke=_examples(whole, data_dir, skip_unreadable))
    if found.ablation.design is not study.ablation.design and cluster.EXECUTOR.value != "local":
        raise cli.UsageError(f"--smoke: factors of {study.name} set what it sets, which workers do not know of: leave "
                             "out --executor")
    return found


def _examples(study: Study, data_dir: str | None, skip_unreadable: bool) -> int:
    """Counts what every run can train on, where that is fewer than a trial takes."""
    try:
        found = inputs.load_datasets([run.config for run in study.ablation.runs()], data_dir,
                                     skip_unreadable=skip_unreadable, tell=lambda line: None)
    except data.DataError:  # which is told where the runs' data are loaded
        return _SMOKE_EXAMPLES
    return min(_SMOKE_EXAMPLES, *(len(read.dataset.train.labels) for read in found.values()))
