import concurrent.futures
import time

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from plain_networks import ResidualConfig

from models import CNNConfig, MLPConfig, TransferConfig, table
from models.layers import parameter_count

GREY, COLOUR = (28, 28, 1), (32, 32, 3)


@pytest.mark.parametrize(("config", "shape"), [
    (MLPConfig(batch_norm=True, dropout=0.1), GREY), (CNNConfig(batch_norm=True, dense=(32,)), GREY),
    (CNNConfig(filters=(32, 20), padding="same", pool=1), COLOUR),
    (TransferConfig(width=0.35, resolution=32, fine_tune="all"), COLOUR)])
def test_macs_and_parameters_read_off_a_shipped_network_are_those_that_it_states(config, shape):
    """Winograd's form, by which a CPU computes some of them, multiplies less often."""
    network = nnx.eval_shape(lambda: config.build(10, shape, nnx.Rngs(0)))
    stated, read = network.rows(shape), table._traced(network, shape)
    for what in ("macs", "parameters"):
        assert sum(getattr(row, what) for row in read) == sum(getattr(row, what) for row in stated)


@pytest.mark.parametrize("fast", [False, True])
def test_the_table_of_a_plain_network_has_each_layer_with_what_it_costs(fast):
    rows = table.rows(ResidualConfig(fast=fast).build(4, (8, 8, 1), rngs=nnx.Rngs(0)), (8, 8, 1))
    assert [(row.name, row.kind, row.output_shape, row.parameters, row.macs) for row in rows] == [
        ("first", "conv", (8, 8, 4), 40, 64 * 36), ("norm", "batch_norm", (8, 8, 4), 8, 0),
        ("second", "conv", (4, 4, 4), 144, 16 * 144), ("shortcut", "conv", (4, 4, 4), 20, 16 * 16),
        ("layer_norm", "layer_norm", (4, 4, 4), 8, 0), ("dropout", "dropout", (4,), 0, 0),
        ("classifier", "dense", (4,), 20, 16)]


class Odd(nnx.Module):
    """Has parameters of its own, a layer that is called twice, one that is never called, a stack, and a transpose."""

    def __init__(self, rngs):
        self.scale = nnx.Param(jnp.ones((6, 6)))
        self.twice = nnx.Linear(6, 6, rngs=rngs)
        self.never = nnx.Linear(3, 5, rngs=rngs)

        @nnx.vmap(in_axes=0, out_axes=0)
        def stacked(rngs):
            return nnx.Linear(6, 6, use_bias=False, rngs=rngs)

        self.stack = stacked(rngs.fork(split=3) if not hasattr(rngs, "split") else rngs.split(3))

    def __call__(self, x):
        x = self.twice(self.twice(x @ self.scale[...]))

        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def through(x, layer):
            return layer(x)

        return through(x, self.stack)


def test_no_parameter_and_no_product_is_left_out():
    network = Odd(nnx.Rngs(0))
    rows = table.rows(network, (6,))
    assert sum(row.parameters for row in rows) == parameter_count(network) == 36 + 42 + 20 + 3 * 36
    assert sum(row.macs for row in rows) == 36 + 2 * 36 + 3 * 36
    found = {row.name: row for row in rows}
    assert (found["Odd"].parameters, found["Odd"].macs) == (36, 36)
    assert [found[name].parameters for name in ("twice", "twice (call 2)", "stack", "never")] == [42, 0, 108, 20]
    assert [found[name].macs for name in ("twice", "twice (call 2)", "stack", "never")] == [36, 36, 108, 0]
    assert found["never"].output_shape == ()


def test_a_transposed_convolution_multiplies_its_inputs_once_by_every_weight():
    network = nnx.ConvTranspose(2, 5, (3, 3), strides=2, rngs=nnx.Rngs(0))
    [row] = table.rows(network, (4, 4, 2))
    assert (row.output_shape, row.macs) == ((8, 8, 5), 16 * 9 * 2 * 5)


class Looping(nnx.Module):
    def __call__(self, x):
        return jax.lax.while_loop(lambda x: x.sum() < 1, lambda x: x @ jnp.ones((4, 4)), x)


def test_a_loop_that_multiplies_an_unknown_number_of_times_is_refused():
    with pytest.raises(ValueError, match=r"loop of unknown length; give the network a method rows"):
        table.rows(Looping(), (4,))


def test_rows_that_leave_parameters_out_are_refused():
    class Forgetful(nnx.Linear):
        def rows(self, input_shape):
            return []

    with pytest.raises(ValueError, match="list 0 parameters that are trained, where it has 6"):
        table.rows(Forgetful(2, 2, rngs=nnx.Rngs(0)), (2,))


def test_the_layers_are_as_they_were_when_their_calls_have_been_noted():
    before = dict(vars(nnx.Linear)), nnx.Linear.__call__
    network = Odd(nnx.Rngs(0))
    table.rows(network, (6,))
    assert (dict(vars(nnx.Linear)), nnx.Linear.__call__) == before
    assert not hasattr(network.twice, "_path_in_network")


def test_networks_are_traced_one_at_a_time():
    """As where a cohort is prepared while another is begun: classes note their calls while they are traced."""
    inside, most = [], []

    class Slow(nnx.Module):
        def __call__(self, images):
            inside.append(self)
            time.sleep(0.1)
            most.append(len(inside))
            inside.pop()
            return images.reshape(len(images), -1)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: table.rows(Slow(), (2, 2, 1)), range(2)))
    assert max(most) == 1
