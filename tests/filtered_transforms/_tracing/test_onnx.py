"""`to_onnx`: the model computes what the function does, where the converter is installed."""

import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms.extend import nondifferentiable, to_onnx
from pytree_module import Module


class Net(Module):
    weight: jax.Array
    activation: Any = jnp.tanh

    def __call__(self, x: jax.Array, *, scale: float) -> dict[str, Any]:
        x = nondifferentiable(x)
        return {"y": self.activation(self.weight @ x) * scale, "name": "net"}


NET = Net(jnp.arange(6.0).reshape(2, 3) / 3)
X = jnp.array([1.0, -2.0, 0.5])


@pytest.mark.skipif(
    importlib.util.find_spec("jax2onnx") is not None, reason="the converter is installed here"
)
def test_without_a_converter_it_says_what_to_install():
    with pytest.raises(ImportError, match=r"needs the converter `jax2onnx`.*\[onnx\]"):
        to_onnx(NET)(X, scale=2.0)


@pytest.mark.skipif(
    importlib.util.find_spec("jax2onnx") is None, reason="jax2onnx is in the environment ecosystem"
)
def test_the_model_computes_the_same():
    onnxruntime = pytest.importorskip("onnxruntime")
    model = to_onnx(NET)(jax.ShapeDtypeStruct((3,), jnp.float32), scale=2.0)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (out,) = session.run(None, {session.get_inputs()[0].name: np.asarray(X)})
    np.testing.assert_allclose(out, NET(X, scale=2.0)["y"], rtol=1e-5)
