"""The tools of tree surgery on models of layers, through the filtered transformations and optax."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import equinoctial as eqx
from equinoctial import nn

X, Y = jnp.linspace(-1, 1, 12).reshape(4, 3), jnp.ones((4, 2))


def mlp(seed=0):
    return nn.MLP(3, 2, 8, 2, key=jax.random.key(seed))


def loss(model, x, y):
    model = eqx.untie(eqx.unfreeze(model))
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)


def train(model, optimiser, steps=3, inside=loss):
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model, state):
        grads = eqx.filter_grad(inside)(model, X, Y)
        updates, state = optimiser.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state

    with jax.numpy_dtype_promotion("standard"):  # optax needs it
        for _ in range(steps):
            model, state = step(model, state)
    return model


# https://github.com/patrick-kidger/equinox/issues/866
# https://github.com/patrick-kidger/equinox/issues/908
@pytest.mark.parametrize("where", ["layers[0]", nn.Linear, "**.bias"])
def test_freeze_filter_grad_and_adamw(where):
    model = mlp()
    frozen = eqx.freeze(model, where)
    mask = eqx.trainable(eqx.filter(frozen, eqx.is_inexact_array))
    assert callable(mask)  # as the model is; but optax must not call it
    trained = train(frozen, optax.masked(optax.adamw(0.1, weight_decay=0.5), mask))
    assert jax.tree.structure(trained) == jax.tree.structure(frozen)
    old, new = arrays(model), arrays(eqx.unfreeze(trained))
    still = set(eqx.tree_paths(frozen, eqx.Frozen))
    assert still
    for path, x in old.items():
        assert np.array_equal(x, new[path]) == (path in still), path


def arrays(model):
    return eqx.tree_select(model, jax.Array)


def test_labels_and_multi_transform():
    model = mlp()
    params = eqx.filter(model, eqx.is_inexact_array)
    labels = eqx.tree_labels(params, {"still": "layers[0]"}, default="moves")
    rules = {"still": optax.set_to_zero(), "moves": optax.adamw(0.1)}
    trained = train(model, optax.multi_transform(rules, labels))
    for path, x in arrays(model).items():
        assert np.array_equal(x, arrays(trained)[path]) == path.startswith("layers[0]")


def test_gradient_of_what_is_frozen_is_zero_and_of_the_rest_as_without():
    model = mlp()
    plain = arrays(eqx.filter_grad(loss)(model, X, Y))
    frozen = arrays(eqx.unfreeze(eqx.filter_grad(loss)(eqx.freeze(model, "**.bias"), X, Y)))
    for path, x in plain.items():
        expected = jnp.zeros_like(x) if path.endswith("bias") else x
        np.testing.assert_allclose(frozen[path], expected, rtol=1e-5, atol=1e-7)


def test_tied_layers_train_as_one():
    model = nn.MLP(3, 3, 3, 3, key=jax.random.key(0))
    tied = eqx.tie(model, [("layers[1:]", "layers[0]")])
    trained = train(tied, optax.adamw(0.1), inside=lambda m, x, y: loss(m, x, jnp.ones((4, 3))))
    used = eqx.untie(trained)
    assert all(layer.weight is used.layers[0].weight for layer in used.layers)
    assert not np.array_equal(used.layers[0].weight, model.layers[0].weight)
    assert eqx.tree_size(tied).parameters == 12

    def by_hand(layer):
        return loss(eqx.tree_set(model, "layers", (layer,) * 4), X, jnp.ones((4, 3)))

    expected = jax.grad(
        lambda w, b: by_hand(eqx.tree_set(model.layers[0], {"weight": w, "bias": b}))
    )(model.layers[0].weight, model.layers[0].bias)
    found = eqx.filter_grad(loss)(tied, X, jnp.ones((4, 3))).layers[0].weight
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_stacked_layers_scan_as_they_loop():
    layers = [nn.Linear(3, 3, key=key) for key in jax.random.split(jax.random.key(0), 4)]
    stacked = eqx.tree_stack(layers)

    def through(x, layer):
        return jnp.tanh(layer(x)), None

    found, _ = eqx.filter_scan(through, X[0], stacked)
    expected = X[0]
    for layer in layers:
        expected = jnp.tanh(layer(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert eqx.tree_equal(eqx.tree_unstack(stacked), layers)
    flat = eqx.to_state_dict({"layers": stacked}, split="layers")
    assert eqx.tree_equal(
        eqx.from_state_dict(flat, {"layers": layers}), {"layers": layers}, typematch=True
    )


def test_summary_counts_what_there_is():
    model = eqx.freeze(mlp(), "layers[0]")
    lines = eqx.tree_summary(model).splitlines()
    assert lines[-1].split()[2] == str(3 * 8 + 8 + 8 * 8 + 8 + 8 * 2 + 2)
    assert any("layers[0].weight" in line and line.rstrip().endswith("no") for line in lines)
    assert "MLP" in lines[-1]


class Classifier(eqx.Module):
    conv: nn.Conv2d
    norm: nn.BatchNorm
    dropout: nn.Dropout
    mlp: nn.MLP

    def __init__(self, key):
        a, b = jax.random.split(key)
        self.conv = nn.Conv2d(1, 2, 3, key=a)
        self.norm = nn.BatchNorm(2, "batch", mode="batch")
        self.dropout = nn.Dropout(0.5)
        self.mlp = nn.MLP(2, 3, 4, 1, key=b)

    def __call__(self, x, state):
        x, state = self.norm(self.conv(x), state)
        return self.mlp(x.mean((1, 2))), state


def batched(model, state, x):
    return jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)


FORMATS = {
    "by name": (eqx.save, eqx.load),
    "in order": (eqx.tree_serialise_leaves, eqx.tree_deserialise_leaves),
}


# https://github.com/patrick-kidger/equinox/issues/166
# https://github.com/patrick-kidger/equinox/issues/167
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("used", [False, True])
def test_models_with_state_are_saved(tmp_path, kind, used):
    """Before the state was first used, too."""
    write, read = FORMATS[kind]
    model, state = nn.make_with_state(Classifier)(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (4, 1, 5, 5))
    if used:
        _, state = batched(model, state, images)
    write(tmp_path / "model", (model, state))
    like = nn.make_with_state(Classifier)(jax.random.key(2))
    new, new_state = read(tmp_path / "model", like)
    assert eqx.tree_equal((new, new_state), (model, state), typematch=True)
    model, new = (nn.inference_mode(m) for m in (model, new))
    assert eqx.tree_equal(batched(new, new_state, images)[0], batched(model, state, images)[0])
    shapes = eqx.filter_eval_shape(nn.make_with_state(Classifier), jax.random.key(0))
    assert eqx.tree_equal(read(tmp_path / "model", shapes)[1], state)


# A model that is saved for training and loaded for inference, or the other way round.
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("inference", [False, True])
def test_saved_in_one_mode_and_loaded_in_the_other(kind, inference):
    write, read = FORMATS[kind]
    model, _ = nn.make_with_state(Classifier)(jax.random.key(0))
    saved = nn.inference_mode(model, value=inference)
    file = io.BytesIO()
    write(file, saved)
    file.seek(0)
    new = read(file, nn.inference_mode(model, value=not inference))
    assert eqx.tree_equal(new, saved) and new.dropout.inference is inference


def test_the_names_of_a_saved_model():
    model = mlp()
    assert list(eqx.to_state_dict(eqx.filter(model, eqx.is_array))) == [
        f"layers.{i}.{name}" for i in range(3) for name in ("weight", "bias")
    ]


def test_a_layer_of_pytorch():
    """`torch.nn.Linear` and `torch.nn.Conv2d` keep their weights as these layers do."""
    state_dict = {
        "fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fc.bias": np.ones(2, np.float32),
        "conv.weight": np.ones((2, 1, 3, 3), np.float32),
        "conv.bias": np.arange(2, dtype=np.float32),
    }
    keys = jax.random.split(jax.random.key(0))
    like = {"fc": nn.Linear(3, 2, key=keys[0]), "conv": nn.Conv2d(1, 2, 3, key=keys[1])}
    rules = {"conv.bias": lambda x: x[:, None, None]}
    model = eqx.from_state_dict(state_dict, like, transpose=rules)
    np.testing.assert_allclose(model["fc"](jnp.ones(3)), [4.0, 13.0])
    np.testing.assert_allclose(model["conv"](jnp.ones((1, 3, 3))).ravel(), [9.0, 10.0])


def test_selection_by_type_of_layer_and_diff():
    model = mlp()
    assert list(eqx.tree_select(model, nn.Linear)) == [f"layers[{i}]" for i in range(3)]
    new = eqx.at(model)["layers[*].bias"].apply(lambda b: b + 1)
    diff = eqx.tree_diff(model, new)
    assert [c.path for c in diff.changed] == [f"layers[{i}].bias" for i in range(3)]
    assert [c.difference for c in diff.changed] == pytest.approx([1] * 3, abs=1e-6)
