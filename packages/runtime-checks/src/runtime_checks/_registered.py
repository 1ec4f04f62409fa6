"""Checks, bound so that `filter_jit` knows them.

What makes a check imports it from here, not from `_check`: a program with a check that is not
registered fails with JAX's own exception, and `filter_jit` does not wait for it.
"""

from filtered_transforms.extend import register_check

from ._check.bind import bind as bind
from ._check.bind import check_tree as check_tree
from ._check.primitive import check_p
from ._failure.exceptions import FAILURES
from ._functionalise.functionalise import carry

register_check(check_p, FAILURES.find, carry)
