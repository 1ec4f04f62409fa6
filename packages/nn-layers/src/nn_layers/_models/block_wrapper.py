"""`BlockWrapper`: a block of a model, called in another way, that else is the block.

Here is decided that a wrapper has the signature and the attributes of its block, and takes a state
if the block does.
"""

from typing import Any

from nn_layers._core.layer_protocol import StatefulLayer
from pytree_module import Module


class BlockWrapper(Module):
    """Base class of wrappers. A subclass says how the block is called."""

    __scope__ = None  # the block has a name of its own

    block: Any

    def inner(self) -> Any:
        """The block as it is called, and as its attributes are read."""
        return self.block

    @property
    def __wrapped__(self) -> Any:
        """The block, whose signature this has."""
        return self.block

    def __getattr__(self, name: str) -> Any:
        # Only asked for what is not found here. Python's own protocols are not those of the block.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner(), name)


class StatefulBlock(StatefulLayer):
    """Mixed into the wrapper of a block that is called with a state."""

    def is_stateful(self: Any) -> bool:
        """**Returns:** whether the block is stateful."""
        return self.block.is_stateful()
