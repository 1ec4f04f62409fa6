"""Modules: how they are declared, made, compared, printed and copied."""

import abc
import collections.abc
import copy
import dataclasses
import functools
import inspect
import pickle
import typing
import weakref
from typing import Any, ClassVar, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from registry import program, short


def pair(eqx):
    class Pair(eqx.Module):
        a: Any
        b: Any = 2

        def total(self, scale=1):
            return scale * (self.a + self.b)

    return Pair


def linear(eqx):
    class Linear(eqx.Module):
        weight: jax.Array
        bias: Any
        name: str = eqx.field(static=True, default="linear")

        def __call__(self, x):
            return self.weight @ x + self.bias

    return Linear


short(
    "Module",
    positional=lambda eqx: pair(eqx)(1, 3),
    by_keyword=lambda eqx: pair(eqx)(b=1, a=3),
    default=lambda eqx: pair(eqx)(1),
    too_few=lambda eqx: pair(eqx)(),
    too_many=lambda eqx: pair(eqx)(1, 2, 3),
    unknown_keyword=lambda eqx: pair(eqx)(1, c=3),
    leaves=lambda eqx: jax.tree.leaves(pair(eqx)(1, [2, None, {"x": 3}])),
    paths=lambda eqx: [
        jax.tree_util.keystr(p)
        for p, _ in jax.tree_util.tree_flatten_with_path(pair(eqx)(1, [2, {"x": 3}]))[0]
    ],
    key_types=lambda eqx: [
        [type(k).__name__ for k in p]
        for p, _ in jax.tree_util.tree_flatten_with_path(pair(eqx)(1, [2, {"x": 3}]))[0]
    ],
    repr=lambda eqx: repr(linear(eqx)(jnp.ones((2, 3)), None)),
    repr_nested=lambda eqx: repr(pair(eqx)(pair(eqx)(np.ones(3), "s"), [jnp.ones(2), jnp.sin])),
    repr_long=lambda eqx: repr(pair(eqx)({f"key{i}": jnp.ones(i) for i in range(20)}, None)),
    str=lambda eqx: str(pair(eqx)(jnp.arange(3), 1)),
    format=lambda eqx: f"{pair(eqx)(1, 2)} {pair(eqx)(1, 2)!r}",
    equal=lambda eqx: pair(eqx)(1, 2) == pair(eqx)(1, 2),
    equal_same_class=lambda eqx: (lambda P: P(1, 2) == P(1, 2))(pair(eqx)),
    unequal_same_class=lambda eqx: (lambda P: P(1, 2) == P(1, 3))(pair(eqx)),
    equal_int_float=lambda eqx: (lambda P: P(1, 2) == P(1.0, 2))(pair(eqx)),
    equal_other_type=lambda eqx: pair(eqx)(1, 2) == (1, 2),
    equal_arrays=lambda eqx: bool((lambda P: P(jnp.ones(2)) == P(jnp.ones(2)))(pair(eqx))),
    equal_arrays_dtype=lambda eqx: bool(
        (lambda P: P(jnp.ones(2)) == P(jnp.ones(2, int)))(pair(eqx))
    ),
    equal_arrays_shape=lambda eqx: bool((lambda P: P(jnp.ones(2)) == P(jnp.ones(3)))(pair(eqx))),
    equal_arrays_values=lambda eqx: bool((lambda P: P(jnp.ones(2)) != P(jnp.zeros(2)))(pair(eqx))),
    equal_jax_numpy=lambda eqx: bool((lambda P: P(jnp.ones(2)) == P(np.ones(2, "f4")))(pair(eqx))),
    hash_equal=lambda eqx: (lambda P: hash(P(1, 2)) == hash(P(1, 2)))(pair(eqx)),
    hash_array=lambda eqx: hash(pair(eqx)(jnp.ones(2))),
    hash_list=lambda eqx: isinstance(hash(pair(eqx)([1, 2], {"a": 1})), int),
    in_a_set=lambda eqx: (lambda P: len({P(1), P(1), P(2)}))(pair(eqx)),
    order=lambda eqx: pair(eqx)(1) < pair(eqx)(2),
    truth=lambda eqx: bool(pair(eqx)(0)),
    length=lambda eqx: len(pair(eqx)(0)),
    iterate=lambda eqx: list(pair(eqx)(0)),
    is_dataclass=lambda eqx: dataclasses.is_dataclass(pair(eqx)),
    dataclass_fields=lambda eqx: [
        (f.name, f.default is dataclasses.MISSING, f.init) for f in dataclasses.fields(pair(eqx))
    ],
    field_types=lambda eqx: [str(f.type) for f in dataclasses.fields(linear(eqx))],
    asdict=lambda eqx: dataclasses.asdict(pair(eqx)(1, pair(eqx)(2))),
    astuple=lambda eqx: dataclasses.astuple(pair(eqx)(1, [2])),
    replace=lambda eqx: dataclasses.replace(pair(eqx)(1), b=5),
    replace_unknown=lambda eqx: dataclasses.replace(pair(eqx)(1), c=5),
    match_args=lambda eqx: pair(eqx).__match_args__,
    signature=lambda eqx: str(inspect.signature(linear(eqx))),
    signature_call=lambda eqx: str(inspect.signature(linear(eqx)(jnp.ones((1, 1)), 0))),
    annotations=lambda eqx: list(linear(eqx).__annotations__),
    assign=lambda eqx: setattr(pair(eqx)(1), "a", 2),
    assign_new=lambda eqx: setattr(pair(eqx)(1), "c", 2),
    assign_method=lambda eqx: setattr(pair(eqx)(1), "total", 2),
    object_setattr=lambda eqx: (
        lambda m: (object.__setattr__(m, "a", 5), m.a, jax.tree.leaves(m))[1:]
    )(pair(eqx)(1)),
    class_attribute=lambda eqx: (lambda P: (setattr(P, "extra", 5), P(1).extra)[1])(pair(eqx)),
    copy=lambda eqx: copy.copy(pair(eqx)(1, [2])),
    deepcopy=lambda eqx: copy.deepcopy(pair(eqx)(jnp.ones(2), [2])),
    copy_shares=lambda eqx: (lambda m: copy.copy(m).b is m.b)(pair(eqx)(1, [2])),
    weakref=lambda eqx: (lambda m: weakref.ref(m)() is m)(pair(eqx)(1)),
    vars=lambda eqx: vars(pair(eqx)(1, 3)),
    dir=lambda eqx: [n for n in dir(pair(eqx)(1)) if not n.startswith("_")],
    unflatten_anything=lambda eqx: (lambda td: td.unflatten([object, None]).a is object)(
        jax.tree.structure(pair(eqx)(1, 2))
    ),
    tree_map=lambda eqx: jax.tree.map(lambda x: x + 1, pair(eqx)(1, (2, 3))),
    tree_map_two=lambda eqx: (lambda P: jax.tree.map(lambda x, y: x + y, P(1, 2), P(3, 4)))(
        pair(eqx)
    ),
    tree_map_two_classes=lambda eqx: jax.tree.map(
        lambda x, y: x + y, pair(eqx)(1, 2), pair(eqx)(3, 4)
    ),
    structure_static=lambda eqx: (
        lambda L: jax.tree.structure(L(1, 2, "a")) == jax.tree.structure(L(1, 2, "b"))
    )(linear(eqx)),
    structure_repr=lambda eqx: "Pair" in str(jax.tree.structure(pair(eqx)(1, 2))),
    jit=lambda eqx: jax.jit(lambda m, x: m(x))(linear(eqx)(jnp.ones((2, 3)), 1.0), jnp.arange(3.0)),
    grad=lambda eqx: jax.grad(lambda m: m(jnp.arange(3.0)).sum())(
        linear(eqx)(jnp.ones((2, 3)), 1.0)
    ),
    vmap=lambda eqx: jax.vmap(lambda i: pair(eqx)(i, i + 1))(jnp.arange(3)),
    vmap_in_axes_module=lambda eqx: (
        lambda P: jax.vmap(lambda m, x: m.a + m.b + x, in_axes=(P(0, None), None))(
            P(jnp.arange(3), 5), 1
        )
    )(pair(eqx)),
    scan_carry=lambda eqx: jax.lax.scan(
        lambda m, x: (jax.tree.map(lambda v: v + x, m), m.a),
        pair(eqx)(jnp.array(0.0), jnp.array(1.0)),
        jnp.arange(3.0),
    ),
    hashable=lambda eqx: isinstance(pair(eqx)(1), collections.abc.Hashable),
    metaclass=lambda eqx: issubclass(type(pair(eqx)), abc.ABCMeta),
    bare=lambda eqx: eqx.Module(),
    bare_equal=lambda eqx: eqx.Module() == eqx.Module(),
    isinstance=lambda eqx: isinstance(pair(eqx)(1), eqx.Module),
    doc=lambda eqx: pair(eqx).__doc__,
    module_name=lambda eqx: (pair(eqx).__module__.rpartition(".")[2], pair(eqx).__qualname__),
)


# How a class is declared.


@program("Module")
def own_init(eqx):
    class M(eqx.Module):
        a: Any
        b: Any

        def __init__(self, n):
            self.b = n + 1
            self.a = n

    return M(3), str(inspect.signature(M))


@program("Module")
def own_init_leaves_a_field_unset(eqx):
    class M(eqx.Module):
        a: int
        b: int

        def __init__(self):
            self.a = 1

    return M()


@program("Module")
def own_init_sets_an_unknown(eqx):
    class M(eqx.Module):
        a: int

        def __init__(self):
            self.a = 1
            self.other = 2

    return M()


@program("Module")
def own_init_sets_twice(eqx):
    class M(eqx.Module):
        a: int

        def __init__(self):
            self.a = 1
            self.a = self.a + 1

    return M()


@program("Module")
def own_init_calls_methods(eqx):
    class M(eqx.Module):
        a: int

        def __init__(self):
            self.set(4)

        def set(self, value):
            self.a = value

    return M()


@program("Module")
def own_init_super(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self, a):
            self.a = a

    class B(A):
        b: int

        def __init__(self, a, b):
            super().__init__(a)
            self.b = b

    return B(1, 2), jax.tree.leaves(B(1, 2))


@program("Module")
def inherited_init_with_new_field(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self, a):
            self.a = a

    class B(A):
        b: int = 3

    return B(1)


@program("Module")
def inherited_init_with_new_field_without_default(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self, a):
            self.a = a

    class B(A):
        b: int

    return B(1)


@program("Module")
def dataclass_child_of_init_parent(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self, a):
            self.a = a

    class B(A):
        b: int

        def __init__(self, b):
            self.a = 0
            self.b = b

    return B(1)


@program("Module")
def fields_of_a_base_come_first(eqx):
    class A(eqx.Module):
        a: int
        z: int = 5

    class B(A):
        b: int = 6
        a: int

    return B(1), [f.name for f in dataclasses.fields(B)]


@program("Module")
def default_before_no_default(eqx):
    class A(eqx.Module):
        a: int = 1
        b: int

    return A


@program("Module")
def post_init(eqx):
    class A(eqx.Module):
        a: int
        b: int = eqx.field(init=False)

        def __post_init__(self):
            self.b = self.a + 1

    return A(1)


@program("Module")
def post_init_changes_a_field(eqx):
    class A(eqx.Module):
        a: Any

        def __post_init__(self):
            self.a = jnp.asarray(self.a)

    return A(1)


@program("Module")
def post_init_with_initvar(eqx):
    class A(eqx.Module):
        a: int
        extra: dataclasses.InitVar[int] = 3

        def __post_init__(self, extra):
            self.a = self.a + extra

    return A(1), A(1, 10), jax.tree.leaves(A(1))


@program("Module")
def init_false_never_set(eqx):
    class A(eqx.Module):
        a: int = eqx.field(init=False)

    return A()


@program("Module")
def init_and_post_init(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self):
            self.a = 1

        def __post_init__(self):
            self.a = 2

    return A()


@program("Module")
def parent_post_init_child_init(eqx):
    class A(eqx.Module):
        a: int

        def __post_init__(self):
            self.a = 10

    class B(A):
        def __init__(self):
            self.a = 1

    return B()


@program("Module")
def check_init(eqx):
    class A(eqx.Module):
        a: int

        def __check_init__(self):
            if self.a < 0:
                raise ValueError("negative")

    A(1)
    return A(-1)


@program("Module")
def check_init_of_all_bases(eqx):
    order = []

    class A(eqx.Module):
        def __check_init__(self):
            order.append("A")

    class B(A):
        def __check_init__(self):
            order.append("B")

    class C(B):
        pass

    C()
    return order


@program("Module")
def check_init_may_not_assign(eqx):
    class A(eqx.Module):
        a: int

        def __check_init__(self):
            self.a = 2

    return A(1)


@program("Module")
def check_init_sees_defaults_and_converters(eqx):
    seen = []

    class A(eqx.Module):
        a: Any = eqx.field(converter=jnp.asarray)

        def __check_init__(self):
            seen.append(type(self.a).__name__)

    A(1)
    return seen


@program("Module")
def mutable_default(eqx):
    class A(eqx.Module):
        a: list = []  # noqa: RUF012

    return A()


@program("Module")
def array_default(eqx):
    class A(eqx.Module):
        a: Any = jnp.ones(2)

    return A()


@program("Module")
def numpy_default(eqx):
    class A(eqx.Module):
        a: Any = np.ones(2)

    return A()


@program("Module")
def module_default(eqx):
    class A(eqx.Module):
        a: Any = 1

    class B(eqx.Module):
        a: A = A()

    return B()


@program("Module", "field")
def default_factory(eqx):
    class A(eqx.Module):
        a: list = eqx.field(default_factory=list)

    return A(), A().a is A().a


@program("Module")
def unannotated_attribute_is_no_field(eqx):
    class A(eqx.Module):
        a: int
        b = 3

    return A(1), A(1).b


@program("Module")
def classvar(eqx):
    class A(eqx.Module):
        a: int
        count: ClassVar[int] = 3

    return A(1), A.count, A(1).count


@program("Module")
def generic(eqx):
    T = TypeVar("T")

    class A(eqx.Module, Generic[T]):
        a: T

    class B(A[int]):
        b: int

    return A[int](3), B(1, 2), A[int](3).a


@program("Module")
def protocol_like_abc(eqx):
    class Base(eqx.Module):
        @abc.abstractmethod
        def __call__(self, x): ...

    class Child(Base):
        def __call__(self, x):
            return x + 1

    return Child()(1), inspect.isabstract(Base), Base()


@program("Module")
def multiple_inheritance(eqx):
    class A(eqx.Module):
        a: int = 1

    class B(eqx.Module):
        b: int = 2

    class C(A, B):
        c: int = 3

    return C(), [f.name for f in dataclasses.fields(C)]


@program("Module")
def plain_mixin(eqx):
    class Mixin:
        def double(self):
            return 2 * self.a

    class A(Mixin, eqx.Module):
        a: int

    return A(2).double(), A(2)


@program("Module")
def mixin_with_annotations(eqx):
    class Mixin:
        x: int

    class A(Mixin, eqx.Module):
        a: int

    return [f.name for f in dataclasses.fields(A)]


@program("Module")
def property_(eqx):
    class A(eqx.Module):
        a: int

        @property
        def double(self):
            return 2 * self.a

    return A(2).double, jax.tree.leaves(A(2))


@program("Module")
def property_is_read_only(eqx):
    class A(eqx.Module):
        a: int

        @property
        def double(self):
            return 2 * self.a

        def __init__(self):
            self.double = 3

    return A()


@program("Module")
def property_that_raises(eqx):
    class A(eqx.Module):
        a: int

        @property
        def bad(self):
            raise AttributeError("inner")

    return hasattr(A(1), "bad")


@program("Module")
def cached_property(eqx):
    class A(eqx.Module):
        a: int

        @functools.cached_property
        def double(self):
            return 2 * self.a

    return A(2).double


@program("Module")
def classmethod_and_staticmethod(eqx):
    class A(eqx.Module):
        a: int

        @classmethod
        def make(cls, x):
            return cls(x)

        @staticmethod
        def helper(x):
            return x + 1

    return A.make(3), A(1).make(4), A.helper(1), A(1).helper(2)


@program("Module")
def getattr_(eqx):
    class A(eqx.Module):
        a: dict

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            return self.a[name]

    return A({"x": 5}).x, jax.tree.leaves(A({"x": 5}))


@program("Module")
def own_setattr(eqx):
    class A(eqx.Module):
        a: int

        def __setattr__(self, name, value):
            raise RuntimeError("own")

    return A(1)


@program("Module")
def own_eq_and_hash(eqx):
    class A(eqx.Module):
        a: Any

        def __eq__(self, other):
            return "equal"

        def __hash__(self):
            return 3

    return A(1) == 2, hash(A(jnp.ones(2)))


@program("Module")
def own_repr(eqx):
    class A(eqx.Module):
        a: Any

        def __repr__(self):
            return "mine"

    class B(eqx.Module):
        x: Any

    return repr(A(1)), repr(B(A(1))), str(A(1))


@program("Module")
def own_operators(eqx):
    class V(eqx.Module):
        a: Any

        def __add__(self, other):
            return V(self.a + other.a)

        def __getitem__(self, i):
            return self.a[i]

        def __len__(self):
            return len(self.a)

        def __iter__(self):
            return iter(self.a)

        def __contains__(self, x):
            return x in self.a

        def __bool__(self):
            return False

    v = V((1, 2))
    return (v + v).a, v[0], len(v), list(v), 2 in v, bool(v)


@program("Module")
def call_with_keywords(eqx):
    class A(eqx.Module):
        a: int

        def __call__(self, x, *rest, y=2, **more):
            return self.a, x, rest, y, more

    return A(1)(2, 3, y=4, z=5), str(inspect.signature(A(1)))


@program("Module")
def not_callable(eqx):
    return pair(eqx)(1)()


@program("Module")
def kw_only_fields(eqx):
    class A(eqx.Module):
        a: int
        _: dataclasses.KW_ONLY
        b: int
        c: int = 3

    return A(1, b=2), str(inspect.signature(A)), A(1, 2)


@program("Module")
def kw_only_class(eqx):
    class A(eqx.Module, kw_only=True):
        a: int = 1
        b: int

    return A(b=2), A(1, 2)


@program("Module")
def frozen_argument(eqx):
    class A(eqx.Module, frozen=True):
        a: int

    return A(1)


@program("Module")
def frozen_false_argument(eqx):
    class A(eqx.Module, frozen=False):
        a: int

    m = A(1)
    m.a = 2
    return m


@program("Module")
def class_argument_eq(eqx):
    class A(eqx.Module, eq=False):
        a: int

    return A(1) == A(1)


@program("Module")
def class_argument_repr(eqx):
    class A(eqx.Module, repr=False):
        a: int

    return repr(A(1)) == object.__repr__(A(1)), repr(A(1))


@program("Module")
def class_argument_init(eqx):
    class A(eqx.Module, init=False):
        a: int

    return A(1)


@program("Module")
def class_argument_order(eqx):
    class A(eqx.Module, order=True):
        a: int

    return A(1) < A(2)


@program("Module")
def class_argument_slots(eqx):
    class A(eqx.Module, slots=True):
        a: int

    return A(1)


@program("Module")
def class_argument_unknown(eqx):
    class A(eqx.Module, nonsense=True):
        a: int

    return A(1)


@program("Module")
def init_subclass(eqx):
    seen = []

    class A(eqx.Module):
        def __init_subclass__(cls, tag=None, **kwargs):
            super().__init_subclass__(**kwargs)
            seen.append((cls.__name__, tag))

    class B(A, tag="t"):
        b: int

    return seen, B(1)


@program("Module")
def dataclass_decorator_on_top(eqx):
    @dataclasses.dataclass(frozen=True)
    class A(eqx.Module):
        a: int

    return A(1), jax.tree.leaves(A(1))


@program("Module")
def nested_class(eqx):
    class A(eqx.Module):
        class Inner(eqx.Module):
            x: int

        i: Any

    return A(A.Inner(1))


@program("Module")
def a_method_as_a_field_in_init(eqx):
    class A(eqx.Module):
        f: Any

        def __init__(self):
            self.f = self.g

        def g(self):
            return 1

    return A()


@program("Module")
def a_function_field(eqx):
    class A(eqx.Module):
        f: Any

        def __call__(self, x):
            return self.f(x)

    return A(jnp.sin)(jnp.array(0.0)), A(abs), A(lambda x: x)


@program("Module")
def a_jitted_field_warns(eqx):
    class A(eqx.Module):
        f: Any

    model = eqx.nn.Linear(2, 2, key=jax.random.key(0))
    return type(A(jax.jit(model))).__name__


@program("Module")
def a_vmapped_field_warns(eqx):
    class A(eqx.Module):
        f: Any

    model = eqx.nn.Linear(2, 2, key=jax.random.key(0))
    return type(A(jax.vmap(model))).__name__


@program("Module")
def a_jitted_function_field_does_not(eqx):
    class A(eqx.Module):
        f: Any

    return type(A(jax.jit(jnp.sin))).__name__


@program("Module")
def recursive_annotation(eqx):
    class Node(eqx.Module):
        value: int
        next: "Node | None" = None

    return Node(1, Node(2)), jax.tree.leaves(Node(1, Node(2)))


@program("Module")
def type_hints(eqx):
    class A(eqx.Module):
        a: "int"
        b: "str" = "x"

    return typing.get_type_hints(A)


@program("Module")
def pickling(eqx):
    global Pickled

    class Pickled(eqx.Module):
        a: Any
        s: str = eqx.field(static=True)

        def f(self):
            return self.s

    Pickled.__qualname__ = "Pickled"
    back = pickle.loads(pickle.dumps(Pickled(jnp.ones(2), "x")))
    method = pickle.loads(pickle.dumps(Pickled(jnp.ones(2), "y").f))
    return back, method(), pickle.loads(pickle.dumps(Pickled)) is Pickled


@program("Module")
def copied_after_setting_dict(eqx):
    P = pair(eqx)
    new = object.__new__(P)
    object.__setattr__(new, "a", 1)
    object.__setattr__(new, "b", 2)
    return new, jax.tree.leaves(new)


@program("Module")
def missing_attribute(eqx):
    return pair(eqx)(1).nothing


@program("Module")
def delete_attribute(eqx):
    m = pair(eqx)(1)
    del m.a
    return m


@program("Module")
def unflatten_does_not_call_init(eqx):
    calls = []

    class A(eqx.Module):
        a: int

        def __init__(self, a):
            calls.append("init")
            self.a = a

        def __check_init__(self):
            calls.append("check")

    jax.tree.map(lambda x: x, A(1))
    return calls


@program("Module")
def leaf_none(eqx):
    return jax.tree.map(lambda x: "leaf", pair(eqx)(None, 1), is_leaf=lambda x: x is None)


@program("Module")
def prefix_tree(eqx):
    P = pair(eqx)
    full = P({"x": 1, "y": 2}, (3, 4))
    return jax.tree.map(lambda p, sub: (p, sub), P("a", "b"), full)


@program("Module")
def string_field_is_a_leaf(eqx):
    return jax.tree.leaves(pair(eqx)("a", object)) == ["a", object]


@program("Module")
def deep_inheritance_override_default(eqx):
    class A(eqx.Module):
        x: int = 1
        y: int = 2

    class B(A):
        x: int = 10

    class C(B):
        y: Any = eqx.field(default=20, converter=float)

    return A(), B(), C(), C(1, 2)


@program("Module")
def field_removed_by_class_attribute(eqx):
    class A(eqx.Module):
        x: int = 1

    class B(A):
        x = 5

    return B(), B(7)


@program("Module")
def field_overridden_by_property(eqx):
    class A(eqx.Module):
        x: int

    class B(A):
        y: int

        @property
        def x(self):
            return 5

        def __init__(self, y):
            self.y = y

    return B(3).y


# Methods.


@program("Module")
def methods_are_trees(eqx):
    m = pair(eqx)(1, 3).total
    return jax.tree.leaves(m), jax.tree.map(lambda x: x * 10, m)(), m(scale=2)


@program("Module")
def method_paths(eqx):
    found = jax.tree_util.tree_flatten_with_path(pair(eqx)(1, 3).total)[0]
    return [jax.tree_util.keystr(p) for p, _ in found]


@program("Module")
def method_attributes(eqx):
    m = pair(eqx)(1, 3).total
    return m.__name__, m.__qualname__, m.__self__, m.__func__.__name__, str(inspect.signature(m))


@program("Module")
def method_doc(eqx):
    class A(eqx.Module):
        def f(self):
            "What f does."

    return A().f.__doc__, A().f.__wrapped__.__name__


@program("Module")
def method_equality(eqx):
    P = pair(eqx)
    return bool(P(1).total == P(1).total), bool(P(1).total == P(2).total)


@program("Module")
def method_through_jit(eqx):
    P = pair(eqx)

    @jax.jit
    def f(method, x):
        return method(x)

    return f(P(jnp.array(1.0), jnp.array(2.0)).total, 3.0)


@program("Module")
def method_is_partial_like(eqx):
    return repr(pair(eqx)(1, 3).total)


@program("Module")
def jitted_method(eqx):
    class A(eqx.Module):
        a: Any

        @eqx.filter_jit
        def f(self, x, flag=True):
            return self.a * x if flag else x

    return A(2.0).f(3.0), A(jnp.array(2.0)).f(3.0, flag=False), A.f(A(2.0), 4.0)


@program("Module")
def jax_jitted_method(eqx):
    class A(eqx.Module):
        a: Any

        @jax.jit
        def f(self, x):
            return self.a * x

    return A(2.0).f(3.0)


@program("Module")
def partialmethod(eqx):
    class A(eqx.Module):
        a: int

        def f(self, x, y):
            return self.a, x, y

        g = functools.partialmethod(f, 2)

    return A(1).g(3)


@program("Module")
def custom_jvp_method(eqx):
    class A(eqx.Module):
        a: Any

        def f(self, x):
            return self.a * x

    return jax.grad(A(2.0).f)(3.0), jax.vmap(A(2.0).f)(jnp.arange(3.0))


@program("Module")
def super_method(eqx):
    class A(eqx.Module):
        a: int

        def f(self):
            return self.a

    class B(A):
        def f(self):
            return super().f() + 1

    return B(1).f(), A.f(B(1))


@program("Module")
def wrapped_decorated_method(eqx):
    def decorate(fn):
        @functools.wraps(fn)
        def wrapper(self, *args):
            return ("decorated", fn(self, *args))

        return wrapper

    class A(eqx.Module):
        a: int

        @decorate
        def f(self, x):
            return self.a + x

        @decorate
        def __call__(self, x):
            return self.a * x

    return A(1).f(2), A(3)(2)


# Abstract attributes.


@program("AbstractVar")
def abstract_var_unfilled(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

    return A()


@program("AbstractVar")
def abstract_var_by_field(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

        def double(self):
            return 2 * self.x

    class B(A):
        x: int

    return B(3).double(), B(3), str(inspect.signature(B))


@program("AbstractVar")
def abstract_var_by_property(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

    class B(A):
        @property
        def x(self):
            return 7

    return B().x, jax.tree.leaves(B())


@program("AbstractVar")
def abstract_var_by_unannotated_value(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

    class B(A):
        x = 3

    return B().x


@program("AbstractVar")
def abstract_var_with_a_value(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int] = 3

    return A()


@program("AbstractVar")
def abstract_var_still_abstract_below(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

    class B(A):
        y: int

    return B(1)


@program("AbstractVar")
def abstract_var_field_names(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]
        y: int

    return [f.name for f in dataclasses.fields(A)], inspect.isabstract(A)


@program("AbstractVar")
def abstract_var_filled_by_a_mixin(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

    class Filled(eqx.Module):
        x: int = 4

    class B(Filled, A):
        pass

    class C(A, Filled):
        pass

    return B(), C()


@program("AbstractVar")
def abstract_var_overrides_a_field(eqx):
    class A(eqx.Module):
        x: int

    class B(A):
        x: eqx.AbstractVar[int]

    return B(1)


@program("AbstractClassVar")
def abstract_classvar_unfilled(eqx):
    class A(eqx.Module):
        x: eqx.AbstractClassVar[int]

    return A()


@program("AbstractClassVar")
def abstract_classvar_filled(eqx):
    class A(eqx.Module):
        x: eqx.AbstractClassVar[int]

    class B(A):
        x = 3

    class C(A):
        x: ClassVar[int] = 4

    return B().x, C().x, B.x, [f.name for f in dataclasses.fields(B)]


@program("AbstractClassVar")
def abstract_classvar_by_field_without_default(eqx):
    class A(eqx.Module):
        x: eqx.AbstractClassVar[int]

    class B(A):
        x: int

    return B(3)


@program("AbstractClassVar")
def abstract_classvar_by_field_with_default(eqx):
    class A(eqx.Module):
        x: eqx.AbstractClassVar[int]

    class B(A):
        x: int = 3

    return B()


@program("AbstractClassVar")
def abstract_classvar_seen_by_init_subclass(eqx):
    class A(eqx.Module):
        x: eqx.AbstractClassVar[int]

        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)
            getattr(cls, "x", None)

    class B(A):
        x = 1

    return B().x


@program("AbstractVar", "AbstractClassVar")
def abstract_annotations(eqx):
    def name(x):
        return getattr(x, "__name__", None) or type(x).__name__

    return name(eqx.AbstractVar), name(eqx.AbstractClassVar), eqx.AbstractVar()


@program("internal.AbstractVar", "internal.AbstractClassVar")
def abstract_the_same_internally(eqx):
    return (
        eqx.internal.AbstractVar is eqx.AbstractVar,
        eqx.internal.AbstractClassVar is eqx.AbstractClassVar,
    )


# Strict.


@program("Module")
def strict_true(eqx):
    class A(eqx.Module, strict=True):
        a: int

        def f(self):
            return 1

    class B(A, strict=True):
        def f(self):
            return 2

    return B(1).f()


@program("StrictConfig")
def strict_config_plain(eqx):
    class A(eqx.Module, strict=eqx.StrictConfig()):
        a: int

    return A(1)


@program("StrictConfig")
def strict_config_overridden_method(eqx):
    class A(eqx.Module, strict=eqx.StrictConfig()):
        a: int

        def f(self):
            return 1

    class B(A, strict=eqx.StrictConfig()):
        def f(self):
            return 2

    return B(1).f()


@program("StrictConfig")
def strict_config_force_abstract(eqx):
    class A(eqx.Module, strict=eqx.StrictConfig(force_abstract=True)):
        a: int

    return A(1)


@program("StrictConfig")
def strict_config_misspelt(eqx):
    return type(eqx.StrictConfig(force_abstact=True)).__name__ != ""


@program("StrictConfig")
def strict_config_unknown(eqx):
    return eqx.StrictConfig(nonsense=True) is not None


# Partial, wrappers.


@program("Partial")
def partial_call(eqx):
    p = eqx.Partial(lambda x, y, z=0: (x, y, z), 1, z=5)
    return p(2), p(2, z=7), p.args, p.keywords


@program("Partial")
def partial_tree(eqx):
    p = eqx.Partial(jnp.add, jnp.ones(2))
    return jax.tree.leaves(p)[1:], p


@program("Partial")
def partial_paths(eqx):
    p = eqx.Partial(jnp.add, 1, k=2)
    return [jax.tree_util.keystr(k) for k, _ in jax.tree_util.tree_flatten_with_path(p)[0]]


@program("Partial")
def partial_of_a_module(eqx):
    layer = eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0))
    p = eqx.Partial(layer, key=None)
    return p(jnp.ones(2)), eqx.filter_grad(lambda p: p(jnp.ones(2)).sum())(p)


@program("Partial")
def partial_is_a_module(eqx):
    p = eqx.Partial(abs)
    return isinstance(p, eqx.Module), p(-3), isinstance(p, functools.partial)


@program("Partial")
def partial_without_arguments(eqx):
    return eqx.Partial()


@program("Partial")
def partial_equality(eqx):
    return eqx.Partial(abs, 1) == eqx.Partial(abs, 1), hash(eqx.Partial(abs, 1)) == hash(
        eqx.Partial(abs, 1)
    )


@program("module_update_wrapper")
def update_wrapper(eqx):
    class Wrapper(eqx.Module):
        fn: Any

        def __call__(self, *args):
            return self.fn(*args)

        @property
        def __wrapped__(self):
            return self.fn

    def f(x: int) -> int:
        "Documentation."
        return x

    w = eqx.module_update_wrapper(Wrapper(f))
    return w.__name__, w.__doc__, w.__qualname__, str(inspect.signature(w)), w(3), w


@program("module_update_wrapper")
def update_wrapper_explicit(eqx):
    class Wrapper(eqx.Module):
        fn: Any

        @property
        def __wrapped__(self):
            return self.fn

    def f(x):
        return x

    def g(y):
        return y

    return eqx.module_update_wrapper(Wrapper(f), g).__name__


@program("module_update_wrapper")
def update_wrapper_of_no_wrapper(eqx):
    return eqx.module_update_wrapper(pair(eqx)(1))


@program("module_update_wrapper")
def update_wrapper_of_a_partial(eqx):
    class Wrapper(eqx.Module):
        fn: Any

        @property
        def __wrapped__(self):
            return self.fn

    w = eqx.module_update_wrapper(Wrapper(functools.partial(abs, 1)))
    return getattr(w, "__name__", "none"), w.__module__.rpartition(".")[2]


@program("module_update_wrapper")
def update_wrapper_survives_flattening(eqx):
    class Wrapper(eqx.Module):
        fn: Any

        @property
        def __wrapped__(self):
            return self.fn

        def __call__(self, *args):
            return self.fn(*args)

    def f(x):
        return x

    w = jax.tree.map(lambda x: x, eqx.module_update_wrapper(Wrapper(f)))
    return w.__name__, w(3)
