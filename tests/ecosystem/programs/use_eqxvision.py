"""eqxvision: a classifier of images."""

import jax
import jax.numpy as jnp
from eqxvision.models import alexnet
from report import report

with report() as numbers:
    numbers["logits"] = alexnet(num_classes=3)(jnp.ones((3, 224, 224)), key=jax.random.key(0))
