"""Programs are compiled without much optimisation: they run once, and there are a thousand."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def compile_quickly():
    """Saves a third of the time. The oracle and parity environments run what is optimised."""
    before = jax.config.read("jax_disable_most_optimizations")
    _use(True)
    yield
    _use(before)


def _use(value: bool) -> None:
    jax.config.update("jax_disable_most_optimizations", value)
    # Tests compare the last bit of two programs: neither may be an old one, compiled otherwise.
    jax.clear_caches()
