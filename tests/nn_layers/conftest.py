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
