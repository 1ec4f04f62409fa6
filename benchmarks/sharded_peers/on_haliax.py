import equinox as eqx
import haliax as hax
import haliax.nn as hnn
import jax
from haliax.partitioning import named_jit

Batch, Pos, KeyPos = hax.make_axes(Batch=16, Pos=64, KeyPos=64)
Embed, Heads, HeadSize, Hidden = hax.make_axes(Embed=128, Heads=4, HeadSize=32, Hidden=512)
BLOCKS = 4
PARAMETERS = {"Heads": "model", "Hidden": "model", "Embed": "data"}
COMPUTE = {"Batch": "data", "Heads": "model", "Hidden": "model"}


class Block(eqx.Module):
    norm1: hnn.LayerNorm
    query: hnn.Linear
    key: hnn.Linear
    value: hnn.Linear
    output: hnn.Linear
    norm2: hnn.LayerNorm
    up: hnn.Linear
    down: hnn.Linear

    @staticmethod
    def init(key):
        keys = jax.random.split(key, 6)
        heads = (Heads, HeadSize)
        q, k, v = (hnn.Linear.init(Embed, heads, key=key, use_bias=False) for key in keys[:3])
        return Block(
            norm1=hnn.LayerNorm.init(Embed),
            query=q,
            key=k,
            value=v,
            output=hnn.Linear.init(heads, Embed, key=keys[3], use_bias=False),
            norm2=hnn.LayerNorm.init(Embed),
            up=hnn.Linear.init(Embed, Hidden, key=keys[4], use_bias=False),
            down=hnn.Linear.init(Hidden, Embed, key=keys[5], use_bias=False),
        )

    def __call__(self, x):
        y = self.norm1(x)
        q, (k, v) = self.query(y), (f(y.rename({"Pos": "KeyPos"})) for f in (self.key, self.value))
        logits = hax.dot(q, k, axis=HeadSize) / HeadSize.size**0.5
        y = hax.dot(hax.nn.softmax(logits, axis=KeyPos), v, axis=KeyPos)
        x = x + self.output(y).rearrange(x.axes)
        return x + self.down(hax.nn.relu(self.up(self.norm2(x)))).rearrange(x.axes)


@named_jit(out_axis_resources=PARAMETERS)
def make(key):
    return [Block.init(key) for key in jax.random.split(key, BLOCKS)]


def step(blocks, x):
    def loss(blocks):
        y = x
        for block in blocks:
            y = hax.shard(block(y), COMPUTE)
        return hax.mean(y * y).scalar()

    grads = eqx.filter_grad(loss)(blocks)
    new = eqx.apply_updates(blocks, jax.tree.map(lambda g: -0.1 * g, grads))
    return hax.shard(new, PARAMETERS)


def setup(mesh, x):
    x = hax.shard(hax.named(x, (Batch, Pos, Embed)), COMPUTE)
    return eqx.filter_jit(step, donate="none"), make(jax.random.key(0)), x
