"""Saving to memory and loading from there, as most tests of this folder do."""

import io

import pytest

from tree_surgery import load, save


def _saved(tree, **kwargs):
    file = io.BytesIO()
    save(file, tree, **kwargs)
    return file.getvalue()


def _loaded(data, like, **kwargs):
    file = io.BytesIO(data)
    tree = load(file, like, **kwargs)
    assert file.read() == b"", "not all was read"
    return tree


# Of the session, since hypothesis draws many examples for one call of a fixture.
@pytest.fixture(scope="session")
def saved():
    """A function from a tree to the bytes of its file."""
    return _saved


@pytest.fixture(scope="session")
def loaded():
    """A function from the bytes of a file, and `like`, to the tree."""
    return _loaded
