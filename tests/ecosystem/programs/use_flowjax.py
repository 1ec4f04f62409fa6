"""flowjax: three kinds of flows are fitted to data, sampled and asked for densities."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import Affine, Exp, RationalQuadraticSpline
from flowjax.distributions import Normal, StandardNormal, Transformed
from flowjax.flows import coupling_flow, masked_autoregressive_flow, planar_flow
from flowjax.train import fit_to_data, fit_to_key_based_loss
from flowjax.train.losses import ElboLoss
from report import report

key = jax.random.key(0)
noise = jax.random.normal(key, (300, 2))
data = jnp.stack([noise[:, 0], noise[:, 1] * 0.3 + noise[:, 0] ** 2], -1)
condition = jnp.sign(noise[:, :1])


def fitted(flow, condition=None):
    inputs = data if condition is None else (data, condition)
    flow, losses = fit_to_data(
        jax.random.key(2), flow, inputs, max_epochs=3, batch_size=50, show_progress=False
    )
    at = None if condition is None else condition[:4]
    return {
        "train": jnp.array(losses["train"]),
        "val": jnp.array(losses["val"]),
        "log_prob": flow.log_prob(data[:4], condition=at),
        "sample": flow.sample(key, (4,) if at is None else (), condition=at),
        "arrays": eqx.filter(flow, eqx.is_array),
    }


with report() as numbers:
    base = StandardNormal((2,))
    numbers["coupling"] = fitted(coupling_flow(key, base_dist=base, flow_layers=2, nn_width=8))
    numbers["splines"] = fitted(
        masked_autoregressive_flow(
            key,
            base_dist=base,
            flow_layers=2,
            nn_width=8,
            transformer=RationalQuadraticSpline(knots=4, interval=3),
        )
    )
    numbers["conditional"] = fitted(
        masked_autoregressive_flow(key, base_dist=base, cond_dim=1, flow_layers=1, nn_width=8),
        condition,
    )
    planar = planar_flow(
        key, base_dist=base, flow_layers=2, width_size=8, depth=1, negative_slope=0.1
    )
    target = Normal(jnp.array([1.0, -1.0]), jnp.array([0.5, 2.0]))
    planar, losses = fit_to_key_based_loss(
        key,
        planar,
        loss_fn=ElboLoss(target.log_prob, num_samples=20),
        steps=10,
        learning_rate=1e-2,
        show_progress=False,
    )
    numbers["variational"] = jnp.array(losses), planar.sample(key, (3,))
    lognormal = Transformed(Normal(0.0, 1.0), Affine(0.3, 0.5)).merge_transforms()
    numbers["transformed"] = Transformed(lognormal, Exp()).log_prob(jnp.array([0.5, 2.0]))
