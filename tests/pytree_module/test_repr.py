"""How modules print, and how treescope shows them."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import pytree_module
from pytree_module import Module, Partial, field


class Linear(Module):
    weight: jax.Array
    bias: jax.Array | None
    size: int = field(static=True)
    hidden: int = field(repr=False, default=0)

    def method(self) -> None: ...


def test_arrays_print_as_dtype_and_shape() -> None:
    linear = Linear(jnp.ones((3, 4)), None, 3)
    assert repr(linear) == str(linear) == "Linear(weight=f32[3,4], bias=None, size=3)"


def test_nested_and_under_jit() -> None:
    printed = []
    jax.jit(lambda m: printed.append(repr(m)))(Partial(Linear(jnp.ones(2), None, 1), 1))
    assert printed[0].startswith("Partial(\n  func=Linear(weight=f32[2], bias=None, size=1)")


def test_bound_method_prints_function_and_instance() -> None:
    method = Linear(jnp.ones(2), None, 1).method
    shown = "BoundMethod(__func__=<function Linear.method>, __self__=Linear("
    assert repr(method).replace("\n", "").replace(" ", "").startswith(shown.replace(" ", ""))
    assert "weight=f32[2]" in repr(method) and "0x" not in repr([method])


@pytest.mark.parametrize("name", pytree_module.__all__)
def test_our_own_objects_show_their_public_path(name: str) -> None:
    assert getattr(pytree_module, name).__module__ == "pytree_module"


# treescope lists the public names of NumPy, a deprecated one (of NumPy 2.5) among them.
@pytest.mark.filterwarnings("ignore:The chararray class:DeprecationWarning")
def test_treescope_shows_the_fields() -> None:
    import treescope

    text = treescope.render_to_text(Partial(Linear(jnp.ones((3, 4)), None, 3), 1))
    assert text.startswith("Partial(\n  func=Linear(")
    assert "float32(3, 4)" in text and "size=3" in text and "hidden" not in text
    html = treescope.render_to_html(Linear(jnp.ones((3, 4)), None, 3), compressed=False)
    assert "Linear" in html and "weight" in html


def test_treescope_is_not_imported_until_it_is_used() -> None:
    program = "import sys, pytree_module as p; p.Module(); sys.exit('treescope' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
