"""Every layer against PyTorch: outputs, and gradients with respect to input and parameters.

`hatch run oracle` runs this folder, in an environment that has PyTorch (for the CPU). A plain
`pytest` leaves it out, as `pyproject.toml` says: no other environment installs PyTorch.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

DTYPES = {
    jnp.dtype("float64"): (torch.float64, 1e-9),
    jnp.dtype("float32"): (torch.float32, 2e-4),
    jnp.dtype("complex128"): (torch.complex128, 1e-9),
    jnp.dtype("complex64"): (torch.complex64, 2e-4),
    # PyTorch computes in float64 on the very same numbers; ours has to be within some roundings.
    jnp.dtype("float16"): (torch.float64, 32 * 2**-10),
    jnp.dtype("bfloat16"): (torch.float64, 32 * 2**-7),
}


@pytest.fixture(autouse=True)
def double():
    """float64 exists in these tests; layers here are told their dtype."""
    with jax.enable_x64(True):
        yield


def to_torch(x):
    """The same numbers as a leaf that PyTorch differentiates."""
    dtype = DTYPES[x.dtype][0]
    wide = x if x.dtype.kind in "fc" and x.dtype.itemsize > 2 else x.astype("float64")
    return torch.from_numpy(np.array(wide)).to(dtype).requires_grad_()


def is_near(ours, theirs, what, tolerance):
    theirs = theirs.detach().resolve_conj().numpy()
    assert ours.shape == theirs.shape, what
    wide = theirs.dtype
    # Relative to the whole array: sums of many terms cancel in single elements.
    scale = max(np.abs(theirs).max(initial=0), 1)
    np.testing.assert_allclose(
        np.asarray(ours).astype(wide), theirs, rtol=0, atol=tolerance * scale, err_msg=what
    )


def compare(layer, call, *inputs, **more):
    """Compares `layer(*inputs, **more)` with `call(parameters, *inputs)`, values and all gradients.

    `parameters` maps the path of each array of the layer, such as `.weight`, to a tensor.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(layer)
    paths = [jax.tree_util.keystr(path) for path, leaf in leaves if isinstance(leaf, jax.Array)]
    arrays = [leaf for _, leaf in leaves if isinstance(leaf, jax.Array)]

    def ours(arrays, inputs):
        given = iter(arrays)
        filled = [next(given) if isinstance(leaf, jax.Array) else leaf for _, leaf in leaves]
        return treedef.unflatten(filled)(*inputs, **more)

    inputs = jax.tree.map(jnp.asarray, inputs)
    y, back = jax.vjp(ours, arrays, inputs)
    tensors = {path: to_torch(leaf) for path, leaf in zip(paths, arrays, strict=True)}
    given = jax.tree.map(to_torch, inputs)
    y_torch = call(tensors, *given)

    rng = np.random.default_rng(0)
    flat, flat_torch = jax.tree.leaves(y), jax.tree.leaves(y_torch)
    assert [leaf.dtype for leaf in flat] == [jax.tree.leaves(inputs)[0].dtype] * len(flat_torch)
    tolerance = max(DTYPES[leaf.dtype][1] for leaf in (*arrays, *jax.tree.leaves(inputs)))
    weights = []
    for ours_leaf, theirs_leaf in zip(flat, flat_torch, strict=True):
        is_near(ours_leaf, theirs_leaf, "output", tolerance)
        # Of the dtype of the output, then converted: both sides see the same numbers.
        weights.append(jnp.asarray(rng.normal(size=ours_leaf.shape)).astype(ours_leaf.dtype))
    own, own_inputs = back(jax.tree.unflatten(jax.tree.structure(y), weights))

    loss = sum((a * to_torch(w).detach()).sum() for a, w in zip(flat_torch, weights, strict=True))
    if not loss.requires_grad:  # nothing came in, or nothing came out
        return
    if loss.is_complex():
        loss = loss.real
    loss.backward()
    names = [*paths, *(f"input {i}" for i in range(len(jax.tree.leaves(inputs))))]
    sides = (*tensors.values(), *jax.tree.leaves(given))
    for name, mine, tensor in zip(names, (*own, *jax.tree.leaves(own_inputs)), sides, strict=True):
        theirs = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        # JAX and PyTorch differ by a conjugation in what they call the gradient.
        is_near(mine, theirs.conj(), f"gradient of {name}", tolerance)


@pytest.fixture
def agrees():
    return compare


@pytest.fixture
def draw():
    """Normal numbers of a shape and dtype, rounded to it."""

    def draw(*shape, dtype="float64"):
        rng = np.random.default_rng(len(shape) + sum(shape))
        values = rng.normal(size=shape)
        if jnp.issubdtype(dtype, jnp.complexfloating):
            values = values + 1j * rng.normal(size=shape)
        return jnp.asarray(values).astype(dtype)

    return draw
