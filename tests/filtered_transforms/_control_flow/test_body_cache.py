"""Threads share the functions that JAX calls in the place of a user's."""

from typing import Any

from filtered_transforms._control_flow.body_cache import BodyCache


def test_two_threads_share_the_bodies_of_loops(switches: Any):
    bodies = BodyCache(lambda reference, *options: lambda x: (reference()(x), options))

    def pair() -> Any:
        def f(x: int) -> int:
            return x + 1

        return (lambda: (f, bodies.of(f, 2))), (lambda: (f, bodies.of(f, 2)))

    for (f, one), (_, other) in switches("/_control_flow/body_cache.py").of(pair):
        assert one is other is bodies.of(f, 2) and one(1) == (2, (2,))
