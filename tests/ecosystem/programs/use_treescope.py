"""treescope: a model as text and as HTML, with its names, fields, arrays and static values."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import treescope
from report import report


class Net(eqx.Module):
    layer: eqx.nn.Linear
    scale: jax.Array
    label: str = eqx.field(static=True)
    empty: None = None


with report() as numbers:
    net = Net(eqx.nn.Linear(2, 3, key=jax.random.key(0)), jnp.ones(2), "a label")
    with treescope.active_autovisualizer.set_scoped(None):
        text = treescope.render_to_text(net)
        html = treescope.render_to_html(net, compressed=False)
    numbers["text"] = np.frombuffer(text.encode(), np.uint8)
    words = ["Net(", "layer=", "Linear(", "weight=", "bias=", "scale=", "a label", "in_features"]
    numbers["words"] = [word in text for word in words]
    numbers["html"] = [word in html for word in ("Net", "layer", "Linear", "label", "in_features")]
    with treescope.using_expansion_strategy(max_height=0):
        numbers["folded"] = len(treescope.render_to_text(net).splitlines())
