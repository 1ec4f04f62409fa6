"""`ContainerMeta`: classes whose members are numbers that stand for texts."""

from typing import Any

from tree_surgery.extend import public


@public("filtered_transforms.extend")
class ContainerMeta(type):
    """Makes a class whose string members become numbers, by which the class gives the strings back.

    Numbers can be traced where strings cannot. `runtime_checks.Enumeration` does more of this.

    **Arguments:** those of a class statement. Members of base classes come first.

    ```python
    from filtered_transforms.extend import ContainerMeta

    class Reason(metaclass=ContainerMeta):
        converged = "The solver has converged."
        diverged = "The solver has diverged."

    assert Reason.diverged == 1 and Reason[1] == "The solver has diverged."
    assert len(Reason) == 2 and list(Reason)[0] == "The solver has converged."
    ```
    """

    reverse_lookup: list[str]

    def __new__(mcs, name: str, bases: tuple[type, ...], dict: dict[str, Any]) -> "ContainerMeta":
        texts = [text for base in bases for text in getattr(base, "reverse_lookup", [])]
        members: Any = {}
        for key, value in dict.items():
            if isinstance(value, str) and not (key.startswith("__") and key.endswith("__")):
                members[key] = len(texts)
                texts.append(value)
            else:
                members[key] = value
        members["reverse_lookup"] = texts
        return super().__new__(mcs, name, bases, members)

    def __getitem__(cls, item: int) -> str:
        return cls.reverse_lookup[item]

    def __len__(cls) -> int:
        return len(cls.reverse_lookup)
