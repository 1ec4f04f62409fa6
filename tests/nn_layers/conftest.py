"""Programs are compiled without much optimisation: they run once, and there are a thousand."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def compile_quickly():
    """Saves a third of the time. The oracle and parity environments run what is optimised."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
