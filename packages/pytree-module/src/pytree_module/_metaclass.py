"""The metaclass of `Module`: the work that is done once, when a class is defined."""

import abc
import dataclasses
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, dataclass_transform

from ._abstract import open_abstract, own_abstract
from ._annotations import annotate_converted, own_annotations, signature, without_annotations
from ._bare_instance import bare_instance
from ._bound_method import as_method
from ._construction import (
    UNDER_CONSTRUCTION,
    ClassInfo,
    class_info_of,
    finish,
    finish_from_fields,
    is_initialised,
    refuse_abstract,
)
from ._field import field, static_field
from ._flatten_codegen import register
from ._inherited_methods import bind_inherited
from ._named_scope import scope_of
from ._strict import StrictOption, check_strict, strict_config
from ._user_frames import warn_user

_BOTH_INITS = """\
Class `{name}` has both an `__init__` method and a `__post_init__` method. This means that the
`__post_init__` method will not be run!

`__post_init__` belongs to the `__init__` that is generated from the fields. Call it yourself at the
end of your `__init__`, or drop one of the two. (`__init__` is defined in `{init}`, `__post_init__`
in `{post}`.)"""


def _definer(cls: type, name: str) -> type | None:
    """The class of the MRO, `object` excepted, whose body has `name`."""
    return next((base for base in cls.__mro__[:-1] if name in base.__dict__), None)


def _generates_init(cls: type) -> bool:
    """Whether `__init__` is generated from the fields.

    The first class of the MRO that has an `__init__` decides. So a subclass of a class with a
    handwritten `__init__` inherits it.
    """
    definer = _definer(cls, "__init__")
    if definer is None:
        return True
    params = definer.__dict__.get("__dataclass_params__")
    return definer is not cls and params is not None and params.init


def _warn_of_both_inits(cls: type) -> None:
    init, post = _definer(cls, "__init__"), _definer(cls, "__post_init__")
    if init is None or post is None:
        return
    name = f"{cls.__module__}.{cls.__qualname__}"
    message = _BOTH_INITS.format(name=name, init=init.__qualname__, post=post.__qualname__)
    warn_user(message)


class _SignatureDoc:
    """The default docstring of a class, computed when it is read: `Linear(size: int)`."""

    def __get__(self, instance: object, owner: type) -> str:
        return owner.__name__ + str(signature(owner)).removesuffix(" -> None")


_SIGNATURE_DOC = _SignatureDoc()


def _refuse_slots(name: str, namespace: dict[str, Any]) -> None:
    if namespace.get("__slots__"):
        raise TypeError(
            f"`{name}` defines `__slots__`. A Module keeps its fields in `__dict__`; delete "
            f"`__slots__`."
        )


def _make_dataclass(cls: Any, abstract: dict[str, str], init: bool) -> None:
    """Makes `cls` a dataclass whose fields are its annotations, except the abstract ones.

    Not with `frozen=True`, which generates a `__setattr__` for every class. `Module.__setattr__`
    serves all classes, and detects whether an instance is under construction.
    """
    generate = init and _generates_init(cls)
    if not generate:
        _warn_of_both_inits(cls)
    doc = vars(cls)["__doc__"] or _SIGNATURE_DOC  # a descriptor as it is
    # Otherwise `dataclasses` computes the signature for it, which takes longer than all the rest.
    cls.__doc__ = "-"
    try:
        with without_annotations(cls, abstract):
            dataclasses.dataclass(init=generate, repr=False, eq=False)(cls)
    except ValueError as error:
        if "mutable default" not in str(error):
            raise
        raise ValueError(
            f"{error}. In `{cls.__qualname__}`: write `field(default_factory=lambda: ...)`, so "
            f"that each instance gets a value of its own."
        ) from None
    cls.__doc__ = doc
    if generate:
        cls.__init__.__doc__ = super(cls, cls).__init__.__doc__
        converters = {
            made.name: made.metadata["converter"]
            for made in dataclasses.fields(cls)
            if made.init and made.metadata.get("converter") is not None
        }
        annotate_converted(cls.__init__, converters)


def _note_open_abstract(cls: Any) -> None:
    """Store the abstract attributes that `cls` leaves open.

    Also as sets, for code that inspects classes, beside Python's own `__abstractmethods__`.
    """
    kinds = open_abstract(cls)
    type.__setattr__(cls, "__open_abstract__", kinds)
    for note, kind in (
        ("__abstractvars__", "attribute"),
        ("__abstractclassvars__", "class attribute"),
    ):
        names = frozenset(name for name, open_kind in kinds.items() if open_kind == kind)
        type.__setattr__(cls, note, names)


def construct(cls: "ModuleMeta", /, *args: Any, **kwargs: Any) -> Any:
    """Make an instance: the call of a class. The steps are in the docstring of `_construction`."""
    info = cls.__info__
    if info is None or info.owner is not cls:
        info = class_info_of(cls)
    if info.is_abstract:
        refuse_abstract(cls, info.open_abstract)
    if info.plain_new:
        module: Any = bare_instance(cls)
    else:
        new: Callable[..., Any] = cls.__new__
        module = new(cls, *args, **kwargs)
        if not isinstance(module, cls) or is_initialised(info, module):
            # Another object, or an existing instance: neither is initialised.
            return module
    values = module.__dict__
    values[UNDER_CONSTRUCTION] = info.names
    module.__init__(*args, **kwargs)
    finish(info, module, values)
    return module


# Not `frozen_default=True`: type checkers would then refuse `self.x = x` in a user's `__init__`. A
# class without one can enable the check by `class Foo(Module, frozen=True)`.
@dataclass_transform(eq_default=False, field_specifiers=(dataclasses.field, field, static_field))
class ModuleMeta(abc.ABCMeta):
    """Makes each class a dataclass and a PyTree, and each instance complete and frozen."""

    __info__: ClassInfo | None
    __open_abstract__: dict[str, str]
    __abstractvars__: frozenset[str]
    __abstractclassvars__: frozenset[str]
    __scope__: str | None

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        /,
        strict: bool | StrictOption = False,
        frozen: bool = True,
        init: bool = True,
        **kwargs: Any,
    ) -> "ModuleMeta":
        if not frozen:
            raise TypeError(f"`{name}` asks for `frozen=False`, but every Module is frozen.")
        _refuse_slots(name, namespace)
        scope = namespace.setdefault("__scope__", scope_of(name, bases, namespace))
        cls = super().__new__(mcs, name, bases, namespace, **kwargs)
        annotations = own_annotations(cls)
        # `vars(cls)`, not `namespace`: an `__init_subclass__` may have replaced functions.
        for attribute, value in list(vars(cls).items()):
            method = as_method(attribute, value, scope)
            if method is not None and attribute not in annotations:
                type.__setattr__(cls, attribute, method)
        bind_inherited(cls, ModuleMeta)
        abstract = own_abstract(cls.__qualname__, cls.__module__, annotations, namespace)
        type.__setattr__(cls, "__own_abstract__", abstract)
        _note_open_abstract(cls)
        _make_dataclass(cls, abstract, init)
        type.__setattr__(cls, "__info__", None)
        config = strict_config(strict)
        if config is not None:
            open_names = [*cls.__open_abstract__, *sorted(cls.__abstractmethods__)]
            module_base = next(base for base in cls.__mro__[::-1] if isinstance(base, mcs))
            type.__setattr__(
                cls, "__strict__", check_strict(cls, namespace, config, open_names, module_base)
            )
        register(cls)
        return cls

    if not TYPE_CHECKING:
        # A type checker would use the signature of this for every constructor.
        __call__ = construct

    # For derived metaclasses that make instances themselves, as in quax. The names are dunders: a
    # plain name here would be the default value of a field of that name.

    def __is_abstract__(cls) -> bool:
        """Whether the class cannot be called, only subclassed."""
        strict = cls.__dict__.get("__strict__") == "abstract"
        return strict or len(cls.__open_abstract__) > 0 or inspect.isabstract(cls)

    def __unfreeze__(cls, module: Any) -> None:
        """Make the fields of `module` assignable until `__freeze__`: around its `__init__`.

        Converters and checks are the responsibility of the caller.
        """
        owner: Any = cls
        vars(module)[UNDER_CONSTRUCTION] = frozenset(f.name for f in dataclasses.fields(owner))

    def __freeze__(cls, module: Any) -> None:
        """Ends `__unfreeze__`. Unset fields get their default if they have one."""
        finish_from_fields(module, required=False)

    def __is_unfrozen__(cls, module: Any) -> bool:
        """Whether the fields of `module` may be assigned: in `__init__` or after `__unfreeze__`."""
        return UNDER_CONSTRUCTION in vars(module)

    def __setattr__(cls, name: str, value: Any) -> None:
        # A function that is set on an existing class becomes a method like those of its body.
        method = as_method(name, value, cls.__scope__)
        if method is None or name in own_annotations(cls):
            super().__setattr__(name, value)
        else:
            super().__setattr__(name, method)

    @property
    def __signature__(cls) -> inspect.Signature:
        """The signature of the constructor; else `inspect` would show that of `__call__` above."""
        init = cls.__init__
        if init is object.__init__ and cls.__new__ is not object.__new__:
            init = cls.__new__
        whole = signature(init)
        return whole.replace(parameters=list(whole.parameters.values())[1:])
