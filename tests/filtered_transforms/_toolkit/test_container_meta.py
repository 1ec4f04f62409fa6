"""`ContainerMeta`: classes whose members are numbers that stand for texts."""

import jax

from filtered_transforms.extend import ContainerMeta


def test_a_class_of_texts():
    class Reason(metaclass=ContainerMeta):
        converged = "It has converged."
        diverged = "It has diverged."

    class More(Reason):
        limit = "It took too long."

    assert (Reason.converged, Reason.diverged, More.limit) == (0, 1, 2)
    assert [More[i] for i in range(len(More))] == list(More)
    assert More[Reason.diverged] == "It has diverged." and len(Reason) == 2
    assert jax.jit(lambda i: i)(Reason.diverged) == 1
