"""Files of PyTorch's `torch.save`: their tensors by name, read without running any code of theirs."""

import argparse
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers.common.errors import UserError, first_line

#: How such files are called.
SUFFIXES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")

_NVIDIA = (
    "a pickle like NVIDIA's is a program that runs when it is opened, so it is refused; convert it with convert_weight.py of "
    "rosinality's stylegan2-pytorch in a container without network or data, and import the .pt that this writes"
)


def is_torch_file(path: Path) -> bool:
    """Return whether a path names a file of PyTorch's or another pickle, by its ending."""
    return path.suffix.lower() in SUFFIXES


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, with ``NAME.`` before those of a state dict that is saved under a name.

    Only tensors and plain data are read (`torch.load` with `weights_only`); anything else is refused, not run. Tensors that lie
    deeper, such as an optimiser's, are left out.

    Raises:
        UserError: the file is missing, damaged or has no state dict, or contains more than tensors and plain data.
    """
    where = f"checkpoint {str(path)!r}"
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise UserError(f"{where}: {_NVIDIA}")
    try:
        # A namespace of options is plain data; many training scripts save theirs.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror}") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{where} is no file of tensors alone, so opening it could run a program ({_reason(error)}); save the state dicts "
            'where it was trained, e.g. torch.save({"g_ema": g_ema.state_dict(), "d": d.state_dict()}, PATH)'
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{where} is damaged or no file of torch.save: {first_line(error)[:100]!r}") from error
    # Parameters, which are saved with keep_vars, and sparse tensors have their values in the usual form here.
    tensors = {name: tensor.detach().to_dense().resolve_neg() for name, tensor in _tensors(content)}
    if empty := [name for name, tensor in tensors.items() if tensor.is_meta]:
        raise UserError(f"{where} has no values of {empty[0]!r}: it was saved from device 'meta'; save it where it was trained")
    if not tensors:
        found = ", ".join(map(repr, sorted(map(str, content))[:8])) if isinstance(content, Mapping) else type(content).__name__
        raise UserError(
            f"{where} has no networks (it has {found or 'nothing'}); expected are state dicts of a generator and a critic, "
            "e.g. 'g_ema' and 'd', or 'GAN'; an optimiser's state is none"
        )
    return tensors


def _tensors(content: Any) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(content, Mapping):
        return
    for name, value in content.items():
        if isinstance(value, Tensor):
            yield str(name), value
        elif isinstance(value, Mapping) and "param_groups" not in value:
            yield from ((f"{name}.{key}", tensor) for key, tensor in value.items() if isinstance(tensor, Tensor))


def _reason(error: Exception) -> str:
    """Return what torch says that the file contains, on one line."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it names {named[1]}" if named else "it is no archive of tensors"
