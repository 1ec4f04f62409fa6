"""distreqx: densities, samples, bijectors, derivatives and batches of distributions."""

import equinox as eqx
import jax
import jax.numpy as jnp
from distreqx import bijectors, distributions
from report import report

key = jax.random.key(0)
DISTRIBUTIONS = {
    "normal": (distributions.Normal(jnp.array(0.5), jnp.array(2.0)), 0.3),
    "logistic": (distributions.Logistic(jnp.array(0.0), jnp.array(1.5)), 0.3),
    "gamma": (distributions.Gamma(jnp.array(2.0), jnp.array(1.5)), 0.8),
    "beta": (distributions.Beta(jnp.array(2.0), jnp.array(3.0)), 0.4),
    "uniform": (distributions.Uniform(jnp.array(-1.0), jnp.array(2.0)), 0.1),
    "categorical": (distributions.Categorical(logits=jnp.arange(3.0)), 1),
    "bernoulli": (distributions.Bernoulli(logits=jnp.array(0.3)), 1.0),
    "diagonal": (distributions.MultivariateNormalDiag(jnp.arange(3.0), jnp.ones(3)), jnp.ones(3)),
    "triangular": (
        distributions.MultivariateNormalTri(jnp.zeros(2), jnp.array([[1.0, 0], [0.5, 2]])),
        jnp.array([0.3, -0.4]),
    ),
    "transformed": (
        distributions.Transformed(
            distributions.Normal(jnp.array(0.0), jnp.array(1.0)),
            bijectors.Chain([bijectors.Sigmoid(), bijectors.ScalarAffine(0.3, 2.0)]),
        ),
        0.7,
    ),
}


@eqx.filter_jit
def facts(distribution, value):
    sample, log_prob = distribution.sample_and_log_prob(key)
    grads = eqx.filter_grad(lambda d: d.log_prob(value))(distribution)
    return {
        "log_prob": distribution.log_prob(value),
        "sample": sample,
        "log_prob of it": log_prob,
        "samples": jax.vmap(distribution.sample)(jax.random.split(key, 4)),
        "grads": eqx.filter(grads, eqx.is_array),
    }


with report() as numbers:
    for name, (distribution, value) in DISTRIBUTIONS.items():
        numbers[name] = facts(distribution, value)
    for name in ("normal", "categorical", "beta", "bernoulli"):
        numbers[f"entropy of {name}"] = DISTRIBUTIONS[name][0].entropy()
    other = distributions.Normal(jnp.array(0.0), jnp.array(1.0))
    numbers["divergence"] = DISTRIBUTIONS["normal"][0].kl_divergence(other)
    mixture = distributions.MixtureSameFamily(
        distributions.Categorical(logits=jnp.array([0.1, 0.7])),
        eqx.filter_vmap(distributions.Normal)(jnp.array([-1.0, 1.0]), jnp.array([0.5, 0.7])),
    )
    numbers["mixture"] = mixture.log_prob(0.2), mixture.mean(), mixture.sample(key)
    try:
        distributions.Categorical()
    except ValueError as error:
        numbers["raises"] = "logits" in str(error)
