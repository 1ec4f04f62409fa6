"""`RNN` and `Bidirectional` against loops of cells, which `test_cells.py` tests."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from filtered_transforms import filter_grad, filter_jit, filter_shard_map, filter_value_and_grad
from nn_layers import (
    RNN,
    Bidirectional,
    Dropout,
    GRUCell,
    LSTMCell,
    Sequential,
    ShapeError,
    Stacked,
)
from pytree_module import Module

pytestmark = pytest.mark.heavy

KEY = jr.PRNGKey(2)
CELLS = {
    "GRU": lambda: GRUCell(3, 4, key=KEY),
    "LSTM without bias": lambda: LSTMCell(3, 4, use_bias=False, key=KEY),
    "plain": lambda: Plain(jr.normal(KEY, (4, 3)), jr.normal(KEY, (4, 4))),
}


class Plain(Module):
    """Elman's network: a cell of a user, which says nothing of itself."""

    weight: jax.Array
    recurrent: jax.Array

    def __call__(self, x, h):
        return jnp.tanh(self.weight @ x + self.recurrent @ h)


class Fast(Plain):
    """The same, saying how its state enters."""

    def initial_state(self):
        return jnp.zeros(4)

    @property
    def recurrent_weight(self):
        return self.recurrent

    def project(self, inputs):
        return inputs @ self.weight.T

    def read(self, hidden):
        return hidden

    def combine(self, projected, product, hidden):
        return jnp.tanh(projected + product)


class Adds(Fast):
    """The same, saying that the product is only added."""

    adds: ClassVar[bool] = True

    def combine(self, total, hidden):
        return jnp.tanh(total)


def start(cell):
    return jnp.zeros(4) if isinstance(cell, Plain) else cell.initial_state()


def loop(cell, xs, h=None, mask=None, reverse=False):
    """Python's loop."""
    h = start(cell) if h is None else h
    ys = []
    for t in reversed(range(len(xs))) if reverse else range(len(xs)):
        if mask is None or mask[t]:
            h = cell(xs[t], h)
            ys.append(h[0] if isinstance(h, tuple) else h)
        else:
            ys.append(jnp.zeros(4))
    return jnp.stack(ys[::-1] if reverse else ys), h


def close(x, y, tolerance=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), x, y
    )


@pytest.mark.parametrize(
    ("mask", "reverse"), [(None, False), ([1, 1, 1, 0, 0], True), ([0, 1, 0, 1, 1], False)]
)
@pytest.mark.parametrize("name", CELLS)
def test_it_is_a_loop(name, reverse, mask):
    cell, xs = CELLS[name](), jr.normal(KEY, (5, 3))
    rnn = RNN(cell, reverse, unroll=2)
    mask = None if mask is None else jnp.array(mask, bool)
    initial = jax.tree.map(lambda z: jr.normal(KEY, z.shape), start(cell))
    ys, h = rnn(xs, initial, mask=mask, return_state=True)
    expected = loop(cell, xs, initial, mask, reverse)
    close((ys, h), expected)
    last = RNN(cell, reverse, return_sequences=False)(xs, initial, mask=mask)
    close(last, expected[1][0] if isinstance(h, tuple) else expected[1])

    def loss(run):
        def of(arguments):
            ys, h = run(*arguments)
            return (ys**2).sum() + sum((x**3).sum() for x in jax.tree.leaves(h))

        return filter_grad(of)((cell, xs, initial))

    gradient = loss(lambda c, xs, h: RNN(c, reverse)(xs, h, mask=mask, return_state=True))
    close(gradient, loss(lambda c, xs, h: loop(c, xs, h, mask, reverse)), 1e-4)


def test_a_gru_without_biases():
    cell, xs = GRUCell(3, 4, use_bias=False, key=KEY), jr.normal(KEY, (3, 3))
    close(RNN(cell)(xs), loop(cell, xs)[0])


def test_forward_mode_and_second_derivatives():
    cell, xs = LSTMCell(3, 4, key=KEY), jr.normal(KEY, (4, 3))
    tangent = jr.normal(jr.PRNGKey(1), (4, 3))
    f = lambda xs: (RNN(cell)(xs) ** 2).sum()  # noqa: E731
    g = lambda xs: (loop(cell, xs)[0] ** 2).sum()  # noqa: E731
    close(jax.jvp(f, (xs,), (tangent,)), jax.jvp(g, (xs,), (tangent,)))
    products = [jax.jvp(jax.grad(h), (xs,), (tangent,)) for h in (f, g)]
    close(*products, 1e-4)
    weight = lambda w: f(xs @ w)  # noqa: E731
    close(jax.jacfwd(weight)(jnp.eye(3)), jax.grad(weight)(jnp.eye(3)), 1e-4)


@pytest.mark.parametrize("Fast", [Fast, Adds])
def test_the_cell_of_a_user_that_says_how_its_state_enters(Fast):
    arrays = jr.normal(KEY, (4, 3)), jr.normal(KEY, (4, 4))
    xs, h = jr.normal(KEY, (6, 3)), jnp.zeros(4)
    close(RNN(Fast(*arrays))(xs), RNN(Plain(*arrays))(xs, h))

    def loss(cell):
        return (RNN(cell)(xs, h) ** 2).sum()

    fast, plain = filter_grad(loss)(Fast(*arrays)), filter_grad(loss)(Plain(*arrays))
    close(jax.tree.leaves(fast), jax.tree.leaves(plain), 1e-4)


def products_in_loop(program):
    """How many matrix products the bodies of loops have."""
    count = 0
    for equation in program.eqns:
        inner = [v for v in equation.params.values() if hasattr(v, "jaxpr") or hasattr(v, "eqns")]
        for value in inner:
            jaxpr = getattr(value, "jaxpr", value)
            inside = equation.primitive.name == "scan"
            count += str(jaxpr).count("dot_general[") if inside else products_in_loop(jaxpr)
    return count


def test_one_product_each_step_forwards_and_one_backwards():
    cell, xs = LSTMCell(3, 4, key=KEY), jr.normal(KEY, (5, 3))
    leaves, treedef = jax.tree.flatten(cell)

    def loss(leaves):
        return RNN(treedef.unflatten(leaves))(xs).sum()

    assert products_in_loop(jax.make_jaxpr(loss)(leaves).jaxpr) == 1
    # Before 0.10 JAX leaves one in the program that nothing needs; XLA takes it out.
    unused = jax.__version_info__ < (0, 10)
    assert products_in_loop(jax.make_jaxpr(jax.grad(loss))(leaves).jaxpr) == 2 + unused


@pytest.mark.parametrize("name", ["GRU", "plain"])
def test_padding_gets_nowhere(name):
    cell, xs = CELLS[name](), jr.normal(KEY, (5, 3))
    mask = jnp.array([True, True, True, False, False])
    padded = xs.at[3:].set(jnp.nan)

    def loss(both):
        return (RNN(both[0])(both[1], jnp.zeros(4), mask=mask) ** 2).sum()

    gradient = filter_grad(loss)((cell, padded))
    short = filter_grad(lambda c: (RNN(c)(xs[:3], jnp.zeros(4)) ** 2).sum())(cell)
    close(gradient[0], short)
    assert jnp.all(gradient[1][3:] == 0)


def test_a_batch_of_sequences_of_different_lengths():
    rnn, batch = RNN(LSTMCell(3, 4, key=KEY)), jr.normal(KEY, (3, 6, 3))
    lengths = jnp.array([6, 2, 0])
    masks = jnp.arange(6)[None] < lengths[:, None]
    call = jax.jit(jax.vmap(lambda xs, mask: rnn(xs, mask=mask, return_state=True)))
    ys, (h, _) = call(batch, masks)
    for i, length in enumerate((6, 2)):
        close(ys[i, :length], rnn(batch[i, :length]))
        close(h[i], ys[i, length - 1])
    assert jnp.all(h[2] == 0)


def test_both_directions():
    one, two = LSTMCell(3, 4, key=KEY), GRUCell(3, 4, key=jr.PRNGKey(0))
    xs, mask = jr.normal(KEY, (5, 3)), jnp.array([True, True, True, True, False])
    both = Bidirectional(one, two)
    ys, states = both(xs, mask=mask, return_state=True)
    (y, h), (z, g) = loop(one, xs, mask=mask), loop(two, xs, mask=mask, reverse=True)
    close(ys, jnp.concatenate([y, z], 1))
    close(states, (h, g))
    last = Bidirectional(one, two, return_sequences=False)(xs, mask=mask)
    close(last, jnp.concatenate([h[0], g]))
    given = both(xs, states)
    close(given[0, :4], one(xs[0], states[0])[0])


def test_keys_go_to_cells_that_take_them():
    class Noisy(Module):
        cell: GRUCell

        def __call__(self, x, h, *, key=None):
            return self.cell(Dropout(0.5)(x, key=key), h)

    cell, xs = Noisy(GRUCell(3, 4, key=KEY)), jr.normal(KEY, (4, 3))
    h, expected = jnp.zeros(4), []
    for x, key in zip(xs, jr.split(KEY, 4), strict=True):
        h = cell(x, h, key=key)
        expected.append(h)
    close(RNN(cell)(xs, jnp.zeros(4), key=KEY), jnp.stack(expected))


def test_layers_of_rnns():
    make = lambda key: RNN(GRUCell(4, 4, key=key))  # noqa: E731
    xs = jr.normal(KEY, (5, 4))
    one, two = (make(key) for key in jr.split(KEY, 2))
    close(Sequential([one, two])(xs), two(one(xs)))
    close(Stacked(make, 2, key=KEY)(xs), two(one(xs)))


def test_no_steps_and_no_state():
    rnn = RNN(LSTMCell(3, 4, key=KEY))
    ys, (h, c) = rnn(jnp.ones((0, 3)), return_state=True)
    assert ys.shape == (0, 4) and h.tolist() == c.tolist() == [0, 0, 0, 0]


def test_calls_outside_of_jit_trace_once():
    traces = []

    class Noting(Plain):
        def __call__(self, x, h):
            traces.append(1)
            return super().__call__(x, h)

    for key in jr.split(KEY, 3):
        cell = Noting(jr.normal(key, (4, 3)), jr.normal(key, (4, 4)))
        RNN(cell)(jnp.ones((7, 3)), jnp.zeros(4))
    assert len(traces) == 1


def test_what_does_not_fit():
    rnn, xs = RNN(GRUCell(3, 4, key=KEY)), jnp.ones((5, 3))
    for call in (rnn, filter_jit(lambda *args, **kwargs: rnn(*args, **kwargs))):
        with pytest.raises(ShapeError, match=r"`RNN` takes .*\(length, input_size=3\).*\(5, 2\)"):
            call(jnp.ones((5, 2)))
        with pytest.raises(ShapeError, match=r"jax.vmap\(layer\)"):
            call(jnp.ones((2, 5, 3)))
        with pytest.raises(ShapeError, match=r"`mask` must be of shape \(length,\) = \(5,\)"):
            call(xs, mask=jnp.ones(4, bool))
        with pytest.raises(TypeError, match="`mask` must be of booleans"):
            call(xs, mask=jnp.ones(5))
    with pytest.raises(TypeError, match="Plain has no method `initial_state`.*rnn\\(inputs, ini"):
        RNN(Plain(jnp.ones((4, 3)), jnp.ones((4, 4))))(xs)


@pytest.mark.parametrize("cell", [GRUCell, 3])
def test_what_is_no_cell_is_refused(cell):
    with pytest.raises(TypeError, match="`RNN` takes a cell"):
        RNN(cell)


def test_an_initial_state_of_another_shape_is_refused():
    xs, gru, lstm = jnp.ones((2, 3)), GRUCell(3, 4, key=KEY), LSTMCell(3, 4, key=KEY)
    with pytest.raises(
        ShapeError, match=r"of GRUCell must be of shape \(4,\), but is of shape \(3"
    ):
        RNN(gru)(xs, jnp.zeros(3))
    found = "LSTMCell has another structure. At <root> it has a tuple, but .* has float32.4."
    with pytest.raises(TypeError, match=found):
        RNN(lstm)(xs, jnp.zeros(4))
    with pytest.raises(TypeError, match=r"`Bidirectional` takes as initial state a pair"):
        Bidirectional(gru, lstm)(xs, jnp.zeros(4))
    start = (jnp.ones(4), (jnp.ones(4), jnp.zeros(4)))
    assert Bidirectional(gru, lstm)(xs, start).shape == (2, 8)


@pytest.mark.parametrize("cell", [GRUCell, LSTMCell])
def test_unrolled_is_another_program_whatever_was_called_before(cell):
    # To Python `True` is 1.
    made = cell(3, 2, key=jax.random.key(0))
    x = jnp.ones((4, 3))
    run = filter_jit(lambda rnn, x: rnn(x))
    for unroll, loops in ((1, 1), (True, 0), (1, 1), (False, 1), (2, 1)):
        program = run.lower(RNN(made, unroll=unroll), x).as_text()
        assert program.count("stablehlo.while") == loops, unroll


@pytest.mark.parametrize("cell", [GRUCell, LSTMCell])
@pytest.mark.parametrize("mask", [None, jnp.array([True, True, False, True])])
def test_the_state_begins_equal_on_all_devices_and_ends_different(cell, mask):
    # The carry of the loop then changes its type, which `jax.shard_map` checks.
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    layer = RNN(cell(3, 4, key=KEY))
    x = jr.normal(KEY, (4, 4, 3))

    def loss(layer, x):
        return jnp.sum(jnp.sin(jax.vmap(lambda x: layer(x, mask=mask)[0])(x)))

    def shared(layer, x):
        part = lambda layer, x: jax.lax.psum(loss(layer, x), "data")  # noqa: E731
        specs = (P(), P("data"))
        return filter_shard_map(part, mesh=mesh, in_specs=specs, out_specs=P())(layer, x)

    found, expected = (filter_value_and_grad(f)(layer, x) for f in (shared, loss))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
