"""`BatchNorm` against NumPy in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_scan
from nn_layers import BatchNorm, ShapeError, inference_mode, make_with_state


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


def batched(norm, axis_name="b"):
    return jax.vmap(norm, axis_name=axis_name, in_axes=(0, None), out_axes=(0, None))


def statistics(x):
    x = np.moveaxis(np.asarray(x, np.float64), 1, 0).reshape(x.shape[1], -1)
    return x.mean(1), x.var(1)


def normalised(x, mean, variance, eps):
    one_each = (1, -1) + (1,) * (x.ndim - 2)
    scale = np.sqrt(np.asarray(variance, np.float64) + eps).reshape(one_each)
    return (np.asarray(x, np.float64) - np.reshape(mean, one_each)) / scale


# https://github.com/patrick-kidger/equinox/issues/592: the rank may change between calls.
@pytest.mark.parametrize("init_variance", [None, 1.0, 0.5])
def test_batch_mode(init_variance):
    options = {"momentum": 0.7, "eps": 1e-3, "mode": "batch", "init_variance": init_variance}
    norm, state = make_with_state(BatchNorm)(3, "b", **options)
    start = 1.0 if init_variance is None else init_variance
    x = 2 + 3 * normal((4, 3))
    y, state = batched(inference_mode(norm))(x, state)  # before any step
    np.testing.assert_allclose(y, normalised(x, np.zeros(3), np.full(3, start), 1e-3), rtol=1e-5)
    mean, variance, weight = np.zeros(3), np.zeros(3), 1.0
    for shape in ((4, 3), (4, 3, 5), (2, 3, 2, 2)):
        x = 2 + 3 * normal(shape)
        y, state = batched(norm)(x, state)
        m, v = statistics(x)
        np.testing.assert_allclose(y, normalised(x, m, v, 1e-3), rtol=1e-3, atol=1e-4)
        mean, variance, weight = 0.7 * mean + 0.3 * m, 0.7 * variance + 0.3 * v, 0.7 * weight
    assert state.get(norm.batch_counter) == 3
    kept = state.get(norm.batch_state_index)
    np.testing.assert_allclose(kept, (mean, variance + weight * start), rtol=1e-4)
    y, state = norm(x[0], state, inference=True)
    # As Equinox has it, unless `init_variance` is asked for: the start is then taken out exactly.
    known = variance + (weight * start if init_variance is None else 0)
    expected = normalised(x, mean / (1 - weight), known / (1 - weight), 1e-3)
    np.testing.assert_allclose(y, expected[0], rtol=1e-3, atol=1e-4)


def test_ema_mode():
    norm, state = make_with_state(BatchNorm)(3, "b", momentum=0.6, mode="ema")
    x1, x2 = normal((4, 3, 5)), 2 + 3 * normal((4, 3))
    y, state = batched(norm)(x1, state)
    first = statistics(x1)
    np.testing.assert_allclose(y, normalised(x1, *first, 1e-5), rtol=1e-3, atol=1e-4)
    y, state = batched(norm)(x2, state)
    running = [0.6 * a + 0.4 * b for a, b in zip(first, statistics(x2), strict=True)]
    np.testing.assert_allclose(state.get(norm.ema_state_index), running, rtol=1e-4)
    np.testing.assert_allclose(y, normalised(x2, *running, 1e-5), rtol=1e-3, atol=1e-4)
    again, same = batched(inference_mode(norm))(x2, state)
    np.testing.assert_allclose(again, y, rtol=1e-6)
    np.testing.assert_array_equal(same.get(norm.ema_state_index), state.get(norm.ema_state_index))


# https://github.com/patrick-kidger/equinox/issues/955
# https://github.com/patrick-kidger/equinox/issues/1010
def test_inference_without_training():
    x = jnp.array([1.0, -2.0, 3.0])
    for options, scale in (
        ({"mode": "batch"}, 1),
        ({"mode": "ema", "init_variance": 1.0}, 1),
        ({"mode": "ema"}, 1e-5**-0.5),  # as Equinox does
    ):
        norm, state = make_with_state(BatchNorm)(3, "b", inference=True, **options)
        np.testing.assert_allclose(norm(x, state)[0], scale * x, rtol=1e-4)


def test_parameters():
    norm, state = make_with_state(BatchNorm)(3, "b", mode="batch")
    moved = jax.tree.map(lambda x: x + 0.5 if isinstance(x, jax.Array) else x, norm)
    x = normal((4, 3))
    expected = 1.5 * normalised(x, *statistics(x), 1e-5) + 0.5
    np.testing.assert_allclose(batched(moved)(x, state)[0], expected, rtol=1e-3, atol=1e-4)
    plain = BatchNorm(3, "b", channelwise_affine=False, mode="ema")
    assert plain.weight is plain.bias is None


def test_gradient():
    norm, state = make_with_state(BatchNorm)(2, "b", mode="batch")
    x = normal((3, 2))

    def loss(x):
        return (batched(norm)(x, jax.tree.map(lambda s: s, state))[0] ** 3).sum()

    def reference(x):
        return (normalised(x, *statistics(x), 1e-5) ** 3).sum()

    wide = np.asarray(x, np.float64)
    steps = 1e-6 * np.eye(6).reshape(6, 3, 2)
    numeric = [(reference(wide + e) - reference(wide - e)) / 2e-6 for e in steps]
    np.testing.assert_allclose(jax.grad(loss)(x).ravel(), numeric, rtol=1e-2, atol=1e-2)


# https://github.com/patrick-kidger/equinox/issues/876
@pytest.mark.parametrize("mode", ["ema", "batch"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_statistics_in_float32(dtype, mode):
    norm, state = make_with_state(BatchNorm)(2, "b", mode=mode)
    x = (300 + 20 * normal((2048, 2))).astype(dtype)
    y, _ = batched(norm)(x, state)
    assert y.dtype == dtype
    expected = normalised(x, *statistics(x), 1e-5)
    tolerance = 16 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("mode", ["batch", "ema"])
def test_a_scan_over_batches_hands_the_state_on(mode):
    """Model and state are carried; then one example goes through in inference mode."""
    batches = normal((3, 4, 2))
    norm, state = make_with_state(BatchNorm)(2, "b", mode=mode, momentum=0.5)

    def step(carry, x):
        norm, state = carry
        y, state = batched(norm)(x, state)
        return (norm, state), y

    start = jax.tree.map(lambda leaf: leaf, state)
    (norm, after), ys = filter_scan(step, (norm, start), batches)
    for x, y in zip(batches, ys, strict=True):
        expected, state = batched(norm)(x, state)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    for ours, expected in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    evaluated = inference_mode(norm)
    alone, kept = evaluated(batches[0, 0], after)
    together, _ = batched(evaluated)(batches[0], state)
    np.testing.assert_allclose(alone, together[0], rtol=1e-4, atol=1e-5)
    for ours, expected in zip(jax.tree.leaves(kept), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_two_axes():
    norm, state = make_with_state(BatchNorm)(2, ("a", "b"), mode="batch")
    x = normal((3, 4, 2))
    y, _ = batched(batched(norm, "a"), "b")(x, state)
    flat = x.reshape(12, 2)
    expected = normalised(flat, *statistics(flat), 1e-5).reshape(x.shape)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)


# https://github.com/patrick-kidger/equinox/issues/49
# https://github.com/patrick-kidger/equinox/issues/707
def test_axes_that_are_missing_or_double():
    norm, state = make_with_state(BatchNorm)(3, "b", mode="ema")
    with pytest.raises(NameError, match=r"`BatchNorm\(axis_name='b'\)` was called outside"):
        norm(jnp.ones(3), state)
    with pytest.raises(NameError, match="axis_name='b'"):
        batched(norm, "c")(jnp.ones((2, 3)), state)
    x, twice = jnp.ones((2, 2, 3)), batched(batched(norm))
    for call in (twice, jax.jit(twice), lambda x, s: jax.jvp(lambda x: twice(x, s)[0], (x,), (x,))):
        with pytest.raises(ValueError, match=r"within another of the same `axis_name`.*a tuple"):
            call(x, state)
    in_two = jax.vmap(batched(norm), (0, None), axis_name="c")  # as for an ensemble
    np.testing.assert_array_equal(in_two(x, state)[0], jnp.zeros_like(x))
    with pytest.raises(ValueError, match="names an axis twice"):
        BatchNorm(3, ("b", "b"), mode="ema")


@pytest.mark.parametrize("shape", [(2,), (), (4, 3)])
def test_shapes_that_do_not_fit(shape):
    norm, state = make_with_state(BatchNorm)(3, "b", mode="batch")
    with pytest.raises(ShapeError, match=r"`BatchNorm` takes .*\(input_size=3, \.\.\.\)"):
        norm(jnp.ones(shape), state)


@pytest.mark.parametrize("wrong", [None, (), {"b": 1}])
def test_a_state_that_is_none(wrong):
    norm, _ = make_with_state(BatchNorm)(3, "b", mode="batch")
    for inference in (False, True):
        with pytest.raises(TypeError, match="`BatchNorm` takes a `State` as second argument"):
            norm(jnp.ones(3), wrong, inference=inference)


def test_modes():
    with pytest.warns(UserWarning, match="`mode='batch'`"):
        assert BatchNorm(3, "b").mode == "ema"
    with pytest.raises(ValueError, match="'batch' or 'ema', got 'word'"):
        BatchNorm(3, "b", mode="word")
    norm, state = make_with_state(BatchNorm)(3, "b", mode="batch", dtype=jnp.float16)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"int32", "float16"}
    assert norm.weight.dtype == jnp.float16
