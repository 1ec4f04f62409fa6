"""Programs are compiled without much optimisation: they run once, and there are a thousand.

That saves a third of the time. The oracle and parity environments run what is optimised.
"""

from pathlib import Path

import jax
import pytest

HERE = Path(__file__).parent
OPTION = "jax_disable_most_optimizations"


def use(value: bool) -> None:
    if jax.config.read(OPTION) != value:
        jax.config.update(OPTION, value)
        # Tests compare the last bit of two programs: neither may be an old one, compiled otherwise.
        jax.clear_caches()


# Not a fixture: one of scope "package" would end with the session, as this folder is no package.
def pytest_runtest_setup(item: pytest.Item) -> None:
    use(True)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is None or HERE not in nextitem.path.parents:
        use(False)


_COMPILED: list[str] = []


def _listen(name: str, _: float, **__: object) -> None:
    if "backend_compile" in name:
        _COMPILED.append(name)


# JAX 0.7.2 has no way to take a listener back: there is one for the whole process.
jax.monitoring.register_event_duration_secs_listener(_listen)


@pytest.fixture
def compiled() -> list[str]:
    """An entry for each program that XLA compiles from now on; to be emptied at will."""
    _COMPILED.clear()
    return _COMPILED
