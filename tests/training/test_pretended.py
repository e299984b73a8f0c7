"""What is foretold of devices that are not there."""

from sweeps import ABLATION, FOUND

from harness.data.inputs import key
from harness.training import pretended, train
from harness.training.layout import Layout
from harness.training.programs import Programs


def test_the_memory_foretold_is_what_a_launch_holds_against_its_device():
    [run] = [run for run in ABLATION.runs() if run.seed == 0][:1]
    dataset = FOUND[key(run.config)].dataset
    programs = Programs(*train.init(run.config, 0, dataset.num_classes, dataset.image_shape), dataset, Layout(1))
    [lying] = pretended.lie([run], FOUND, 1)
    assert lying.layout == Layout(1)
    assert lying.memory_bytes == programs.memory_bytes + programs.beside_bytes
