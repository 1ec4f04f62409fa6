"""Mistakes in the use of layers, each of which pyright and mypy find.

Checked, never run. The ignores say what is found: one that ignores nothing is an error.
"""

import jax
import jax.numpy as jnp
from jax import Array

from nn_layers import (
    MLP,
    RNN,
    AvgPool2d,
    BatchNorm,
    Conv,
    Conv2d,
    ConvTranspose1d,
    Dropout,
    Embedding,
    GRUCell,
    Identity,
    LayerNorm,
    Linear,
    LSTMCell,
    MaxPool1d,
    MultiheadAttention,
    RMSNorm,
    Sequential,
    Shared,
    SpectralNorm,
    Stacked,
    State,
    StateIndex,
    WeightNorm,
    inference_mode,
    make_with_state,
    summary,
)
from pytree_module import Module

key = jax.random.key(0)
x = jnp.ones(3)
linear = Linear(3, 3, key=key)
attend = MultiheadAttention(2, 8, key=key)


class Net(Module):
    linear: Linear

    def __init__(self, size: int, *, key: Array) -> None:
        self.linear = Linear(size, size, key=key)

    def __call__(self, x: Array) -> Array:
        return self.linear(x)


Linear(3, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Linear(3, 3, key)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
Linear(3, "scaler", key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Linear(3, 3, bias=False, key=key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Linear(3, 3, dtype=3, key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
linear("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
linear(x, key=0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
linear.weights  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
linear.name = "a"  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
linear(x)[0] + "a"  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
MLP(3, 2, 8, key=key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
MLP(3, 2, 8, 1, activation="relu", key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Conv(3, 8, kernel_size=3, key=key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Conv2d(3, 8, 3, padding="SAMES", key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Conv2d(3, 8, 3, padding_mode="MIRROR", key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Conv2d(3, 8, 3, "SAME", key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Conv2d(3, 8, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Conv2d(3, 8, 3, num_spatial_dims=2, key=key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ConvTranspose1d(3, 8, 3, 1, "SAME", key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
AvgPool2d()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
AvgPool2d("2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
MaxPool1d(2, init=0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Dropout("0.5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Embedding(5, 3, key=key)(1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
LayerNorm(3)(x, 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
LayerNorm(3, elementwise=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
RMSNorm()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
BatchNorm(3, "batch", mode="running")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
BatchNorm(3, "batch", mode="batch")(x)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
attend(x, x)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
attend(x, x, x, implementation="flash")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
attend(x, x, x, cache=x)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
attend(x, x, x, cache=attend.init_cache(3)).shape  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
RNN(3)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
RNN(GRUCell(2, 3, key=key))(x, (x, x))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
RNN(LSTMCell(2, 3, key=key))(x, x)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
RNN(LSTMCell(2, 3, key=key))(x, return_state=True).shape  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
RNN(linear)(x)  # type: ignore[misc]  # pyright: ignore[reportCallIssue]
Stacked(Net, 3, key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Stacked(lambda key: Net(3, key=key), 3, remat="all", key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Stacked(lambda key: Net(3, key=key), 3, key=key)["0"]  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
Stacked(lambda key: Net(3, key=key), 3, key=key)[0].weight  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
Stacked(lambda key: Net(3, key=key), 3, key=key)(x, collect=True)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
WeightNorm("linear")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
WeightNorm(linear).layer.gain  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
SpectralNorm(linear, key=key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
SpectralNorm(linear, "weight", key=key)(x)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Shared((linear, linear), lambda pair: pair[0].wait, lambda pair: pair[1].weight)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
Shared((linear, linear), lambda pair: pair[0].weight, lambda pair: pair[1].weight)()[0].wait  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
Sequential([3])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType, reportCallIssue]
Sequential(linear)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
Sequential([linear])["0"]  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
Sequential((linear,)).layers[1]  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
Sequential((linear,)).layers[0].gain  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
make_with_state(Net)(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
make_with_state(Net)("3", key=key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
make_with_state(Net)(3, key=key).linear  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
State(linear).get(linear)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
State(linear).get(StateIndex("a")).shape  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
State(linear).set(StateIndex(x), "a")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
inference_mode(linear).layers  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
summary(linear, x, format="latex")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Identity()(x).weight  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
