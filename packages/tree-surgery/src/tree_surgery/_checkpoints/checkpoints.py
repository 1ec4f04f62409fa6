"""`Checkpoints`: a folder of numbered checkpoints, on orbax's `CheckpointManager`.

The public class and its documents. Here is decided which options the manager gets, and which step
a call means. What a checkpoint holds is decided in `stored_tree.py`, what is read for a tree in
`restore.py`.
"""

import dataclasses
import operator
import os
from collections.abc import Mapping
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import jax

from tree_surgery._errors import SerialiseError
from tree_surgery._load_report import LoadReport
from tree_surgery._public import public
from tree_surgery._safetensors.encoded_tree import encode_tree
from tree_surgery._safetensors.file_notes import check_metadata
from tree_surgery._safetensors.fingerprint import fingerprint_of_infos
from tree_surgery._safetensors.fit_leaves import CastTo
from tree_surgery._safetensors.leaf_names import name_leaves
from tree_surgery._safetensors.peek import FileInfo
from tree_surgery._safetensors.rename import Rename
from tree_surgery._types import FilePath, ToWrite, Tree

from .restore import read_checkpoint, read_on_host, restore_item
from .safetensors_files import gigabytes, map_safetensors, on_cpu, write_safetensors
from .stored_tree import (
    VERSION,
    StoredTree,
    arrays_to_store,
    notes_from_json,
    notes_to_json,
)

if TYPE_CHECKING:
    from orbax.checkpoint import CheckpointManager, CheckpointManagerOptions

_TREE, _NOTES = "tree", "tree_surgery"  # the folders of one checkpoint


@public
class Checkpoints:
    """A folder of checkpoints by step: saved in the background, in parts, and tidied up.

    [orbax-checkpoint](https://orbax.readthedocs.io) does the work: `pip install
    "tree-surgery[orbax]"`. In a job of several processes all of them make the same calls, and each
    writes and reads the parts of arrays that it holds. A checkpoint is there once it is whole: one
    that is killed while it is saved leaves the one before as the latest.

    The names in a checkpoint are dotted paths, as in a file of [`tree_surgery.save`][], and so are
    the leaves that are saved: arrays, typed PRNG keys, Python's numbers, leaves that write
    themselves. Functions and static fields are not; `metadata` is the place for hyper-parameters.

    **Arguments:**

    - `folder`: where they are. It is made if it does not exist. A path of a cloud, such as
        `gs://...`, is taken as it is.
    - `keep`: how many of the latest to keep, or of the best; `None` for all.
    - `keep_every`: a step that is a multiple of it is kept for ever.
    - `best`: the name of a metric, of which the best checkpoints are kept instead of the latest.
    - `mode`: whether the best is the `"min"` or the `"max"`.
    - `save_every`: of how many steps one is saved. Others are when the machine is about to be taken
        away (see `reached_preemption`).
    - `asynchronous`: whether `save` returns as soon as the arrays are copied.
    - `options`: orbax's own `CheckpointManagerOptions`, in place of all but `folder`.

    **Raises:** `ImportError` if orbax-checkpoint is not installed.

    ```python
    import tempfile
    import jax
    import jax.numpy as jnp
    import tree_surgery as ts

    def build(width):
        return {"w": jnp.zeros((width, width)), "key": jax.random.key(0)}

    with tempfile.TemporaryDirectory() as folder:
        with ts.Checkpoints(folder, keep=2) as checkpoints:
            for step in range(4):
                model = {"w": jnp.full((3, 3), step), "key": jax.random.key(step)}
                checkpoints.save(step, model, metadata={"width": 3})
        with ts.Checkpoints(folder) as checkpoints:
            assert checkpoints.steps == [2, 3]
            like = jax.eval_shape(lambda: build(checkpoints.peek().metadata["width"]))
            like["w"] = jax.ShapeDtypeStruct((3, 3), jnp.int32)
            assert ts.tree_equal(checkpoints.load(like), model)
    ```
    """

    _best: str | None
    _folder: str
    _manager: "CheckpointManager"
    _ocp: ModuleType
    _options: "CheckpointManagerOptions"

    def __init__(
        self,
        folder: FilePath,
        *,
        keep: int | None = None,
        keep_every: int | None = None,
        best: str | None = None,
        mode: Literal["min", "max"] = "min",
        save_every: int = 1,
        asynchronous: bool = True,
        options: "CheckpointManagerOptions | None" = None,
    ):
        self._ocp = _import_orbax()
        path = os.fspath(folder)
        self._folder = path if "://" in path else os.path.abspath(path)
        self._best = best
        if options is not None:
            self._options = options
        else:
            self._options = self._ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                keep_period=keep_every,
                best_fn=None if best is None else operator.itemgetter(best),
                best_mode=mode,
                save_interval_steps=save_every,
                enable_async_checkpointing=asynchronous,
                cleanup_tmp_directories=True,  # what a process left that was killed
            )
        self._manager = self._ocp.CheckpointManager(
            self._folder, options=self._options, item_names=(_TREE, _NOTES)
        )

    # --- save ------------------------------------------------------------------------------------

    def save(
        self,
        step: int,
        tree: object,
        *,
        metrics: Mapping[str, float] | None = None,
        metadata: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> bool:
        """The tree is saved as that of a step. The tree may be changed, or donated, at once.

        **Arguments:**

        - `step`: an integer, greater than all before.
        - `tree`: as for [`tree_surgery.save`][]. Save the state of the optimiser, the key and the
            position in the data in one tree with the model.
        - `metrics`: numbers by name. [`tree_surgery.Checkpoints`][] needs the one that is `best`.
        - `metadata`: as for [`tree_surgery.save`][].
        - `force`: also if it is not the turn of this step by `save_every`.

        **Returns:** whether it is saved.

        **Raises:** `SerialiseError`, naming the path of the leaf in the tree, if a leaf cannot be
        saved; if the step is not after the latest; if the metric is missing. What fails in the
        background is raised by the next call.
        """
        self._check_turn(step, metrics)
        encoded = encode_tree(name_leaves(tree).leaves)
        notes = notes_to_json(encoded, check_metadata(metadata))
        return self._save(self._manager, step, arrays_to_store(encoded), notes, metrics, force)

    def _save(
        self,
        manager: "CheckpointManager",
        step: int,
        arrays: dict[str, Any],
        notes: dict[str, Any],
        metrics: Mapping[str, float] | None,
        force: bool,
    ) -> bool:
        items = {_NOTES: self._ocp.args.JsonSave(notes)}
        if arrays:  # orbax refuses an empty tree
            items[_TREE] = self._ocp.args.PyTreeSave(arrays)
        return manager.save(
            step,
            args=self._ocp.args.Composite(**items),
            metrics=None if metrics is None else {name: float(x) for name, x in metrics.items()},
            force=force,
        )

    def _check_turn(self, step: int, metrics: Mapping[str, float] | None) -> None:
        """Refuse a step that is not after the latest, and metrics without the one of the best."""
        latest = self.latest
        if latest is not None and step <= latest:
            raise SerialiseError(
                f"Step {step} is not after {latest}, the latest checkpoint in `{self._folder}`. "
                f"Go on from there, or use another folder."
            )
        if self._best is not None and self._best not in (metrics or {}):
            raise SerialiseError(
                f"The best checkpoints are those of `{self._best}`, which `metrics` lacks: it has "
                f"{sorted(metrics or {})}."
            )

    def from_safetensors(
        self,
        path: FilePath,
        step: int,
        *,
        metrics: Mapping[str, float] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """A safetensors file becomes a checkpoint.

        The file is mapped, and no more than a gigabyte of it copied at a time. A program of one
        process can do this, and several load the checkpoint.

        **Arguments:**

        - `path`: of a file of [`tree_surgery.save`][], or of another program.
        - `step`, `metrics`: as for `save`.
        - `metadata`: in place of those of the file.

        **Raises:** `SerialiseError` as `save` does, or if the file is damaged.
        """
        self._check_one_process()
        self._check_turn(step, metrics)
        encoded, found = map_safetensors(path)
        notes = notes_to_json(encoded, found if metadata is None else check_metadata(metadata))
        arrays = on_cpu(arrays_to_store(encoded))
        self.wait()
        manager = self._ocp.CheckpointManager(
            self._folder,
            options=dataclasses.replace(self._options, enable_async_checkpointing=False),
            # Of arrays on the CPU this many gigabytes at most are copied at a time.
            item_handlers={
                _TREE: self._ocp.PyTreeCheckpointHandler(save_concurrent_gb=gigabytes(arrays)),
                _NOTES: self._ocp.JsonCheckpointHandler(),
            },
        )
        self._save(manager, step, arrays, notes, metrics, force=True)
        manager.close()
        self._manager.reload()

    def _check_one_process(self) -> None:
        if jax.process_count() > 1:
            raise SerialiseError(
                f"A job of {jax.process_count()} processes converts no files. Do it in a program "
                "of one process."
            )

    # --- load ------------------------------------------------------------------------------------

    @overload
    def load(
        self,
        like: Tree,
        step: int | None = None,
        *,
        strict: Literal[True] = True,
        rename: Rename | None = None,
        dtype: CastTo = None,
    ) -> Tree: ...
    @overload
    def load(
        self,
        like: Tree,
        step: int | None = None,
        *,
        strict: Literal[False],
        rename: Rename | None = None,
        dtype: CastTo = None,
    ) -> tuple[Tree, LoadReport]: ...
    @overload
    def load(
        self,
        like: Tree,
        step: int | None = None,
        *,
        strict: bool = True,
        rename: Rename | None = None,
        dtype: CastTo = None,
    ) -> Tree | tuple[Tree, LoadReport]: ...
    def load(
        self,
        like: Tree,
        step: int | None = None,
        *,
        strict: bool = True,
        rename: Rename | None = None,
        dtype: CastTo = None,
    ) -> Tree | tuple[Tree, LoadReport]:
        """The tree of a checkpoint is read into the structure of `like`.

        Only what fits a leaf of `like` is read at all; each process reads the parts that its
        devices hold. `like` may lie on other devices, or other numbers of them, than what was
        saved.

        **Arguments:**

        - `like`, `strict`, `rename`, `dtype`: as for [`tree_surgery.load`][]. A part of the tree
            is read with a `rename` that leaves out the rest: `{"optimiser": None}`.
        - `step`: which one. Without, the latest; `checkpoints.best` is the best.

        **Returns:** A new tree. With `strict=False`, a tuple of the tree and a
        [`tree_surgery.LoadReport`][].

        **Raises:** `SerialiseError` if there is no such checkpoint; if it does not fit, with all
        paths that do not, as [`tree_surgery.load`][] does; or if it is damaged.
        """
        step, stored = self._notes(step)
        source = f"Checkpoint {step} of `{self._folder}`"

        def read(how: dict[str, Any]) -> dict[str, Any]:
            return self._read(step, stored, how)

        return read_checkpoint(
            stored, read, like, strict=strict, rename=rename, dtype=dtype, source=source
        )

    def _notes(self, step: int | None) -> tuple[int, StoredTree]:
        self.wait()
        steps = self.steps
        if step is None:
            step = self.latest
        if step is None or step not in steps:
            there = f"There are {steps}." if steps else "There is none at all."
            wanted = "checkpoint" if step is None else f"checkpoint of step {step}"
            raise SerialiseError(f"There is no {wanted} in `{self._folder}`. {there}")
        try:
            found = self._restore(step, **{_NOTES: self._ocp.args.JsonRestore()})
        except (KeyError, FileNotFoundError) as error:
            raise SerialiseError(
                f"Checkpoint {step} of `{self._folder}` was not saved by "
                "`tree_surgery.Checkpoints`: it has no notes. Read it by orbax itself."
            ) from error
        return step, notes_from_json(found[_NOTES])

    def _read(self, step: int, stored: StoredTree, how: dict[str, Any]) -> dict[str, Any]:
        item, restore_args = restore_item(how, stored)
        args = self._ocp.args.PyTreeRestore(item=item, restore_args=restore_args)
        found = self._restore(step, **{_TREE: args})[_TREE]
        return {name: found[name] for name in how}

    def _restore(self, step: int, **items: Any) -> Any:
        return self._manager.restore(step, args=self._ocp.args.Composite(**items))

    def peek(self, step: int | None = None) -> FileInfo:
        """What is in a checkpoint is known without reading its arrays.

        **Arguments:**

        - `step`: which one. Without, the latest.

        **Returns:** A [`tree_surgery.FileInfo`][]: metadata, the leaves with dtypes and shapes,
        and the fingerprint of the tree.

        **Raises:** `SerialiseError` if there is no such checkpoint, or if it is damaged.
        """
        _, stored = self._notes(step)
        infos = stored.infos
        return FileInfo(stored.metadata, infos, fingerprint_of_infos(infos), VERSION)

    def to_safetensors(self, path_or_file: ToWrite, step: int | None = None) -> None:
        """A checkpoint becomes a safetensors file, as [`tree_surgery.save`][] writes it.

        One array after the other is read and written. A program of one process can do this, also
        if several have saved the checkpoint.

        **Arguments:**

        - `path_or_file`: as for [`tree_surgery.save`][].
        - `step`: which one. Without, the latest.

        **Raises:** `SerialiseError` if there is no such checkpoint, or if it is damaged; `OSError`
        if the file cannot be written.
        """
        self._check_one_process()
        found, stored = self._notes(step)

        def read(name: str) -> Any:
            return read_on_host(lambda how: self._read(found, stored, how), name)

        write_safetensors(path_or_file, stored, read)

    # --- which there are -------------------------------------------------------------------------

    @property
    def steps(self) -> list[int]:
        """The steps of which there is a checkpoint, in their order."""
        return sorted(self._manager.all_steps())

    @property
    def latest(self) -> int | None:
        """The latest of the steps; `None` if there is none."""
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """The step with the best metric; `None` if there is none, or no `best` was named."""
        return None if self._best is None else self._manager.best_step()

    @property
    def manager(self) -> "CheckpointManager":
        """Orbax's `CheckpointManager`, for all else that it can do."""
        return self._manager

    def reached_preemption(self, step: int) -> bool:
        """Whether the machine is about to be taken away. `save` then saves in any case; stop after.

        It is known in a job of `jax.distributed`, whose processes all ask, of the same step.
        """
        return self._manager.reached_preemption(step)

    def wait(self) -> None:
        """All that was saved is whole on the disk. Raises what failed in the background."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and end the threads of the background."""
        self.wait()
        self._manager.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Checkpoints({self._folder!r})"


def _import_orbax() -> ModuleType:
    """Imported where it is used: it takes a second, and not everybody has it."""
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise ImportError(
            "`Checkpoints` needs orbax-checkpoint, which is not installed: "
            '`pip install "tree-surgery[orbax]"`.'
        ) from error
    return orbax.checkpoint
