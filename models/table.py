"""The layer table of any network: its own, if it has a method `rows`, else read off its forward pass.

Reading: each module's calls are marked in the traced program, and every matrix product and convolution of that program
counts for the module that it is in.
"""

import contextlib
import functools
import math
import re
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from models import convolution, plain
from models.layers import Dropout, Mode, Row, Shape, parameter_count

# What Flax's layers are called in the tables of shipped networks; others go by the name of their class.
_KINDS = {nnx.Linear: "dense", nnx.Conv: "conv", nnx.BatchNorm: "batch_norm", nnx.Dropout: "dropout",
          Dropout: "dropout", nnx.LayerNorm: "layer_norm", nnx.GroupNorm: "group_norm"}
# They multiply matrices where nobody sees how large.
_UNSEEN = {"pallas_call", "ffi_call", "custom_call", "tpu_custom_call", "ragged_dot", "ragged_dot_general",
           "scaled_matmul_wrapper", "fft", "triangular_solve", "cholesky", "lu", "qr", "svd", "eigh", "eig"}
_MARK = re.compile(r"layer_call_(\d+)")
_OUTSIDE = -1  # of every module that is called
# While one network is traced its classes note their calls, and cohorts are prepared beside each other.
_TRACING = threading.Lock()


def rows(network: Any, input_shape: Shape) -> list[Row]:
    """Describes each layer in order; shapes and counts are per example.

    A network without a method `rows(input_shape)` is traced in evaluation, on shapes alone. There is a row for each
    call of a module that has no modules inside, and for others that have parameters or multiplications of their own;
    then one for each module that is never called and has parameters, with no output. Repeated calls have no parameters.
    MACs are those of matrix products and convolutions, forward, for one example.

    Raises:
      ValueError: if the rows leave parameters out, or the program multiplies where it cannot be counted.
    """
    has_rows = callable(getattr(network, "rows", None))
    found = network.rows(input_shape) if has_rows else _traced(network, input_shape)
    listed, there = sum(row.parameters for row in found if not row.frozen), parameter_count(network)
    if listed != there:
        raise ValueError(f"the rows of {type(network).__name__} list {listed:,} parameters that are trained, where it "
                         f"has {there:,}: mend its method rows, or leave it out, and they are counted")
    return found


class _Call:
    """A module's call: which, where its class stands in the table, and the shape that came out."""

    def __init__(self, path: str, module: nnx.Module):
        self.path, self.kind = path, _kind(module)
        self.shape: Shape = ()


def _traced(network: nnx.Module, input_shape: Shape) -> list[Row]:
    calls, program = _trace(network, input_shape)
    macs = count(program)
    modules = {".".join(map(str, path)): module for path, module in nnx.iter_modules(network)}
    own: Counter[str] = Counter()
    for path, leaf in nnx.to_flat_state(nnx.state(network, nnx.Param)):
        around = (".".join(map(str, path[:end])) for end in range(len(path), -1, -1))
        own[next(name for name in around if name in modules)] += leaf.size
    parents = {path for path in modules if any(
        inner != path and inner.startswith(f"{path}." if path else "") for inner in modules)}
    found, times = [], Counter[str]()
    for number, call in enumerate(calls):
        times[call.path] += 1
        repeated = f" (call {times[call.path]})" if times[call.path] > 1 else ""
        row = Row(call.kind, call.shape, own.pop(call.path, 0), macs.pop(number, 0),
                  name=(call.path or type(network).__name__) + repeated)
        if row.parameters or row.macs or call.path not in parents:
            found.append(row)
    found += [Row(_kind(modules[path]), (), size, 0, name=path or type(network).__name__) for path, size in own.items()]
    if left := sum(macs.values()):
        found.append(Row(type(network).__name__, (), 0, left, name=type(network).__name__))
    return found


def _trace(network: nnx.Module, input_shape: Shape) -> tuple[list[_Call], Any]:
    """Traces the forward pass of one example; gives the calls by their number, and the program that bears it."""
    graph, state = nnx.split(network)
    calls: list[_Call] = []

    def run(state: Any, images: Any) -> Any:
        network = nnx.merge(graph, state, copy=True)
        with _marked(network, calls):
            return plain.forward(network, images, Mode())

    with _TRACING, convolution.using("as_written"):
        return calls, jax.make_jaxpr(run)(state, jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)).jaxpr


@contextlib.contextmanager
def _marked(network: nnx.Module, calls: list[_Call]) -> Iterator[None]:
    """Has each module's call noted, and its number named in what is traced."""
    open_calls: list[str] = []
    kinds = set()
    for path, module in nnx.iter_modules(network):
        if isinstance(module, nnx.bridge.ToNNX):  # it takes all of its attributes for variables
            continue
        # On the module itself: inside nnx.scan and the like another object stands in its place.
        module._path_in_network = ".".join(map(str, path))  # type: ignore[attr-defined]
        kinds.add(type(module))

    def noted(original: Any) -> Any:
        @functools.wraps(original)
        def call(module: Any, *arguments: Any, **named: Any) -> Any:
            path = getattr(module, "_path_in_network", None)
            if path is None or path in open_calls[-1:]:  # made meanwhile, or its class calls the one it is derived from
                return original(module, *arguments, **named)
            calls.append(note := _Call(path, module))
            open_calls.append(path)
            with jax.named_scope(f"layer_call_{len(calls) - 1}"):
                out = original(module, *arguments, **named)
            open_calls.pop()
            shape = next((leaf.shape for leaf in jax.tree.leaves(out) if hasattr(leaf, "shape")), ())
            note.shape = tuple(shape[1:] if shape[:1] == (1,) else shape)
            return out

        return call

    own = {kind: vars(kind).get("__call__") for kind in kinds}
    originals = {kind: next((vars(base)["__call__"] for base in kind.__mro__ if "__call__" in vars(base)), None)
                 for kind in kinds}
    try:
        for kind, original in originals.items():
            if original is not None:
                setattr(kind, "__call__", noted(original))  # noqa: B010
        yield
    finally:
        for kind, original in own.items():
            if original is not None:
                setattr(kind, "__call__", original)  # noqa: B010
            elif "__call__" in vars(kind):
                delattr(kind, "__call__")


def count(jaxpr: Any, outer: str = "") -> Counter[int]:
    """Counts the multiply-accumulates of a program's matrix products and convolutions.

    A branch counts as the costliest that may be taken.

    Returns:
      number of the marked call -> count; -1 for what is in none.

    Raises:
      ValueError: if a loop without a fixed length multiplies, or something that does not say how often it does.
    """
    total: Counter[int] = Counter()
    for equation in jaxpr.eqns:
        where, name = f"{outer}/{equation.source_info.name_stack}", equation.primitive.name
        inner: list[Counter[int]] = [count(each, where) for each in _programs_in(equation.params)]
        if name in ("dot_general", "conv_general_dilated"):
            marks = _MARK.findall(where)
            total[int(marks[-1]) if marks else _OUTSIDE] += _macs(name, equation)
        elif name in _UNSEEN or (name == "while" and any(map(bool, inner))):
            raise ValueError(f"MACs cannot be counted: the forward pass has "
                             f"{'a loop of unknown length' if name == 'while' else name}; give the network a method "
                             "rows(input_shape) that lists its layers as models.Row")
        elif name == "cond":
            sizes = [sum(branch.values()) for branch in inner]
            total += inner[sizes.index(max(sizes))]
        else:
            times = equation.params["length"] if name == "scan" else 1
            for each in inner:
                total.update({mark: times * macs for mark, macs in each.items()})
    return total


def _macs(name: str, equation: Any) -> int:
    left, right = (operand.aval.shape for operand in equation.invars[:2])
    out = math.prod(equation.outvars[0].aval.shape)
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return out * math.prod(left[axis] for axis in contracted)
    layout = equation.params["dimension_numbers"]
    filters, channels = right[layout.rhs_spec[0]], right[layout.rhs_spec[1]]
    if any(step != 1 for step in equation.params["lhs_dilation"]):  # transposed: zeros stand between the inputs
        return math.prod(left) * math.prod(right) // channels // equation.params["feature_group_count"]
    return out * math.prod(right) // filters


def _programs_in(params: Any) -> Iterator[Any]:
    for value in params.values():
        for item in value if isinstance(value, list | tuple) else [value]:
            item = getattr(item, "jaxpr", item)
            if hasattr(item, "eqns"):
                yield item


def _kind(module: nnx.Module) -> str:
    return next((_KINDS[base] for base in type(module).__mro__ if base in _KINDS), type(module).__name__)
