"""What tells one set of parameters from another."""

import hashlib

import jax
import numpy as np


def params_sha256(params: dict) -> str:
    """Return a digest of names, shapes, dtypes and values, in hexadecimal."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.ascontiguousarray(leaf)
        name = jax.tree_util.keystr(path)
        digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
