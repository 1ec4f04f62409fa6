"""Edit, compare, check, print and save any JAX PyTree."""

import typing as _typing

from ._lazy import lazy_names as _lazy_names
from ._lazy import moved_names as _moved_names

if _typing.TYPE_CHECKING:
    from ._checkpoints.checkpoints import Checkpoints as Checkpoints
    from ._compare.diff import TreeChange as TreeChange
    from ._compare.diff import TreeDiff as TreeDiff
    from ._compare.diff import tree_diff as tree_diff
    from ._compare.equal import tree_equal as tree_equal
    from ._compare.first_difference import Equality as Equality
    from ._edit.by_selector import at as at
    from ._edit.by_selector import tree_apply as tree_apply
    from ._edit.by_selector import tree_select as tree_select
    from ._edit.by_selector import tree_set as tree_set
    from ._edit.cast import tree_cast as tree_cast
    from ._edit.stack import tree_stack as tree_stack
    from ._edit.stack import tree_unstack as tree_unstack
    from ._edit.tree_at import tree_at as tree_at
    from ._edit.tree_replace import tree_replace as tree_replace
    from ._errors import SerialiseError as SerialiseError
    from ._errors import ShardingError as ShardingError
    from ._errors import WhereError as WhereError
    from ._load_report import LeafInfo as LeafInfo
    from ._load_report import LoadReport as LoadReport
    from ._load_report import Mismatch as Mismatch
    from ._nodes.key_paths import path_str as path_str
    from ._nodes.one_level import tree_flatten_one_level as tree_flatten_one_level
    from ._nodes.tree_check import tree_check as tree_check
    from ._npy.leaf_specs import SerialisableLeaf as SerialisableLeaf
    from ._npy.leaf_specs import default_deserialise_filter_spec as default_deserialise_filter_spec
    from ._npy.leaf_specs import default_serialise_filter_spec as default_serialise_filter_spec
    from ._npy.serialise import tree_deserialise_leaves as tree_deserialise_leaves
    from ._npy.serialise import tree_serialise_leaves as tree_serialise_leaves
    from ._safetensors.load import load as load
    from ._safetensors.load import load_state_dict as load_state_dict
    from ._safetensors.peek import FileInfo as FileInfo
    from ._safetensors.peek import peek as peek
    from ._safetensors.save import save as save
    from ._safetensors.save import tree_fingerprint as tree_fingerprint
    from ._select.selectors import Selector as Selector
    from ._select.tree_paths import tree_paths as tree_paths
    from ._select.where import where as where
    from ._sharding.describe_sharding import describe_sharding as describe_sharding
    from ._sharding.presets import data_parallel as data_parallel
    from ._sharding.presets import fsdp as fsdp
    from ._sharding.tree_shardings import ShardingRules as ShardingRules
    from ._sharding.tree_shardings import tree_shardings as tree_shardings
    from ._show.pformat import tree_pformat as tree_pformat
    from ._show.pformat import tree_pprint as tree_pprint
    from ._show.wl_custom import TreeWLCustom as TreeWLCustom
    from ._state_dict.state_dict import from_state_dict as from_state_dict
    from ._state_dict.state_dict import to_state_dict as to_state_dict
    from ._summaries.tree_size import TreeSize as TreeSize
    from ._summaries.tree_size import tree_size as tree_size
    from ._summaries.tree_summary import tree_summary as tree_summary
    from ._training.apply_updates import apply_updates as apply_updates
    from ._training.freeze import Frozen as Frozen
    from ._training.freeze import freeze as freeze
    from ._training.freeze import trainable as trainable
    from ._training.freeze import unfreeze as unfreeze
    from ._training.masks_and_labels import Labels as Labels
    from ._training.masks_and_labels import tree_labels as tree_labels
    from ._training.masks_and_labels import tree_mask as tree_mask
    from ._training.tie import Tied as Tied
    from ._training.tie import find_shared as find_shared
    from ._training.tie import tie as tie
    from ._training.tie import untie as untie
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "._checkpoints.checkpoints": "Checkpoints",
            "._compare.diff": "TreeChange, TreeDiff, tree_diff",
            "._compare.equal": "tree_equal",
            "._compare.first_difference": "Equality",
            "._edit.by_selector": "at, tree_apply, tree_select, tree_set",
            "._edit.cast": "tree_cast",
            "._edit.stack": "tree_stack, tree_unstack",
            "._edit.tree_at": "tree_at",
            "._edit.tree_replace": "tree_replace",
            "._errors": "SerialiseError, ShardingError, WhereError",
            "._load_report": "LeafInfo, LoadReport, Mismatch",
            "._nodes.key_paths": "path_str",
            "._nodes.one_level": "tree_flatten_one_level",
            "._nodes.tree_check": "tree_check",
            "._npy.leaf_specs": (
                "SerialisableLeaf, default_deserialise_filter_spec, default_serialise_filter_spec"
            ),
            "._npy.serialise": "tree_deserialise_leaves, tree_serialise_leaves",
            "._safetensors.load": "load, load_state_dict",
            "._safetensors.peek": "FileInfo, peek",
            "._safetensors.save": "save, tree_fingerprint",
            "._select.selectors": "Selector",
            "._select.tree_paths": "tree_paths",
            "._select.where": "where",
            "._sharding.describe_sharding": "describe_sharding",
            "._sharding.presets": "data_parallel, fsdp",
            "._sharding.tree_shardings": "ShardingRules, tree_shardings",
            "._show.pformat": "tree_pformat, tree_pprint",
            "._show.wl_custom": "TreeWLCustom",
            "._state_dict.state_dict": "from_state_dict, to_state_dict",
            "._summaries.tree_size": "TreeSize, tree_size",
            "._summaries.tree_summary": "tree_summary",
            "._training.apply_updates": "apply_updates",
            "._training.freeze": "Frozen, freeze, trainable, unfreeze",
            "._training.masks_and_labels": "Labels, tree_labels, tree_mask",
            "._training.tie": "Tied, find_shared, tie, untie",
        },
    )

# Of `_moved.py`, which is imported when an old pickle is read. Until 0.2.0.
_moved_names(__name__, "_selector _where")
