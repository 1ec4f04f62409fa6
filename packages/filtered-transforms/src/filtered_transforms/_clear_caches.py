"""`clear_caches`: no program is kept."""

import jax

from tree_surgery.extend import public

from ._jit.filter_jit import clear_jit_caches
from ._mapping.pmap import clear_pmap_caches


@public
def clear_caches() -> None:
    """Forgets all compiled programs: those of `jax.jit`, of `filter_jit` and of `filter_pmap`.

    ```python
    from filtered_transforms import clear_caches

    clear_caches()
    ```
    """
    clear_jit_caches()
    clear_pmap_caches()
    jax.clear_caches()
