"""Loops that are differentiated in reverse."""

import jax
import jax.numpy as jnp
from registry import short

KINDS = ("lax", "bounded", "checkpointed")


def count_to(eqx, kind, n=3, **options):
    options = {"max_steps": 8} | options
    return eqx.internal.while_loop(
        lambda c: c[0] < n,
        lambda c: (c[0] + 1, c[1] * 1.5),
        (jnp.array(0), jnp.array(2.0)),
        kind=kind,
        **options,
    )


def differentiated(eqx, kind, **options):
    def f(x):
        return eqx.internal.while_loop(
            lambda c: c[0] < 3,
            lambda c: (c[0] + 1, jnp.sin(c[1])),
            (0, x),
            kind=kind,
            **({"max_steps": 8} | options),
        )[1]

    return jax.grad(f)


for kind in KINDS:
    short(
        "internal.while_loop",
        **{
            f"{kind}_value": lambda eqx, k=kind: count_to(eqx, k),
            f"{kind}_no_steps": lambda eqx, k=kind: count_to(eqx, k, n=0),
            f"{kind}_limit": lambda eqx, k=kind: count_to(eqx, k, n=100),
            f"{kind}_vmapped": lambda eqx, k=kind: jax.vmap(lambda n: count_to(eqx, k, n=n))(
                jnp.arange(4)
            ),
            f"{kind}_jit": lambda eqx, k=kind: jax.jit(lambda n: count_to(eqx, k, n=n))(2),
            f"{kind}_grad": lambda eqx, k=kind: differentiated(eqx, k)(1.0),
            f"{kind}_jvp": lambda eqx, k=kind: jax.jvp(
                lambda x: eqx.internal.while_loop(
                    lambda c: c < 10, lambda c: c * 2, x, max_steps=8, kind=k
                ),
                (1.0,),
                (1.0,),
            ),
            f"{kind}_no_limit": lambda eqx, k=kind: count_to(eqx, k, max_steps=None),
            f"{kind}_zero_limit": lambda eqx, k=kind: count_to(eqx, k, max_steps=0),
            f"{kind}_static_carry": lambda eqx, k=kind: eqx.internal.while_loop(
                lambda c: c[0] < 2,
                lambda c: (c[0] + 1, c[1]),
                (jnp.array(0), "s"),
                kind=k,
                max_steps=4,
            ),
            f"{kind}_wrong_carry": lambda eqx, k=kind: eqx.internal.while_loop(
                lambda c: c < 2, lambda c: jnp.ones(2), jnp.array(0.0), kind=k, max_steps=4
            ),
            f"{kind}_wrong_structure": lambda eqx, k=kind: eqx.internal.while_loop(
                lambda c: True, lambda c: (c, c), jnp.array(0.0), kind=k, max_steps=4
            ),
            f"{kind}_integers": lambda eqx, k=kind: eqx.internal.while_loop(
                lambda c: c < 5, lambda c: c + 2, 0, kind=k, max_steps=4
            ),
            f"{kind}_buffer": lambda eqx, k=kind: buffered(eqx, k)(jnp.array(2.0)),
            f"{kind}_closure": lambda eqx, k=kind: jax.jvp(
                lambda w: eqx.internal.while_loop(
                    lambda c: c < 10, lambda c: c * w, 1.0 * w, kind=k, max_steps=8
                ),
                (2.0,),
                (1.0,),
            ),
            f"{kind}_vmapped_grad": lambda eqx, k=kind: jax.vmap(differentiated(eqx, k))(
                jnp.arange(2.0)
            ),
        },
    )


def buffered(eqx, kind):
    def run(x):
        def body(c):
            i, xs = c
            return i + 1, xs.at[i].set(x * i)

        return eqx.internal.while_loop(
            lambda c: c[0] < 3,
            body,
            (0, jnp.zeros(4)),
            kind=kind,
            max_steps=4,
            buffers=lambda c: c[1],
        )[1]

    return run


short(
    "internal.while_loop",
    bounded_buffer_grad=lambda eqx: jax.grad(lambda x: buffered(eqx, "bounded")(x).sum())(2.0),
    checkpointed_buffer_grad=lambda eqx: jax.grad(lambda x: buffered(eqx, "checkpointed")(x).sum())(
        2.0
    ),
    checkpointed_checkpoints=lambda eqx: differentiated(eqx, "checkpointed", checkpoints=2)(1.0),
    checkpointed_unlimited_with_checkpoints=lambda eqx: differentiated(
        eqx, "checkpointed", max_steps=None, checkpoints=2
    )(1.0),
    checkpointed_unlimited=lambda eqx: differentiated(eqx, "checkpointed", max_steps=None)(1.0),
    checkpointed_too_few=lambda eqx: differentiated(eqx, "checkpointed", checkpoints=0)(1.0),
    bounded_base=lambda eqx: differentiated(eqx, "bounded", base=2)(1.0),
    bounded_without_limit=lambda eqx: differentiated(eqx, "bounded", max_steps=None)(1.0),
    unknown_kind=lambda eqx: count_to(eqx, "word"),
    lax_checkpoints=lambda eqx: count_to(eqx, "lax", checkpoints=3),
    bounded_checkpoints=lambda eqx: count_to(eqx, "bounded", checkpoints=3),
    negative_limit=lambda eqx: count_to(eqx, "bounded", max_steps=-1),
    not_a_bool=lambda eqx: eqx.internal.while_loop(
        lambda c: c, lambda c: c - 1, jnp.array(3), kind="lax"
    ),
    bounded_hessian=lambda eqx: jax.grad(differentiated(eqx, "bounded"))(1.0),
    checkpointed_hessian=lambda eqx: jax.grad(differentiated(eqx, "checkpointed"))(1.0),
    checkpointed_jvp_of_grad=lambda eqx: jax.jvp(
        differentiated(eqx, "checkpointed"), (1.0,), (1.0,)
    ),
    read_a_buffer=lambda eqx: eqx.internal.while_loop(
        lambda c: c[0] < 3,
        lambda c: (c[0] + 1, c[1].at[c[0] + 1].set(c[1][c[0]] * 2)),
        (0, jnp.ones(4)),
        kind="checkpointed",
        max_steps=3,
        buffers=lambda c: c[1],
    )[1],
)


def cumulative(eqx, kind, xs, length=None, **options):
    return eqx.internal.scan(
        lambda c, x: (c + (1.0 if x is None else x), c),
        jnp.array(0.0),
        xs,
        length,
        kind=kind,
        **options,
    )


for kind in ("lax", "checkpointed"):
    short(
        "internal.scan",
        **{
            f"{kind}_value": lambda eqx, k=kind: cumulative(eqx, k, jnp.arange(4.0)),
            f"{kind}_length": lambda eqx, k=kind: cumulative(eqx, k, None, 3),
            f"{kind}_empty": lambda eqx, k=kind: cumulative(eqx, k, jnp.zeros(0)),
            f"{kind}_lengths": lambda eqx, k=kind: cumulative(eqx, k, jnp.zeros(3), 4),
            f"{kind}_grad": lambda eqx, k=kind: jax.grad(
                lambda xs: eqx.internal.scan(
                    lambda c, x: (jnp.sin(c + x), c), jnp.array(0.0), xs, kind=k
                )[0]
            )(jnp.arange(4.0)),
            f"{kind}_vmapped": lambda eqx, k=kind: jax.vmap(lambda xs: cumulative(eqx, k, xs))(
                jnp.ones((2, 3))
            ),
            f"{kind}_static": lambda eqx, k=kind: eqx.internal.scan(
                lambda c, x: (c, x), (jnp.array(0.0), "s"), jnp.arange(2), kind=k
            ),
            f"{kind}_wrong_carry": lambda eqx, k=kind: eqx.internal.scan(
                lambda c, x: (jnp.ones(2), x), jnp.array(0.0), jnp.arange(2), kind=k
            ),
        },
    )
short(
    "internal.scan",
    checkpoints=lambda eqx: jax.grad(
        lambda xs: eqx.internal.scan(
            lambda c, x: (jnp.sin(c + x), c), jnp.array(0.0), xs, kind="checkpointed", checkpoints=2
        )[1].sum()
    )(jnp.arange(4.0)),
    checkpoints_all=lambda eqx: cumulative(eqx, "checkpointed", jnp.arange(4.0), checkpoints="all"),
    unknown_kind=lambda eqx: cumulative(eqx, "word", jnp.arange(4.0)),
    bounded=lambda eqx: cumulative(eqx, "bounded", jnp.arange(4.0)),
    buffer=lambda eqx: eqx.internal.scan(
        lambda c, x: (c.at[x].set(1.0), None),
        jnp.zeros(3),
        jnp.arange(2),
        kind="checkpointed",
        buffers=lambda c: c,
    )[0],
)
