"""Imports: networks trained elsewhere as a source, read from a file, matched with ours by name and measured once.

The file must have a generator and a critic, under our names (``generator.*``, ``critic.*``), those of the paper's code (see
`trainers.trial.tensorflow`) or of published style-based networks (`trainers.trial.style_layouts`), or names that a map
translates into ours. Every tensor of both networks needs a counterpart; any
other tensor of the file is ignored. Nothing is ever unpickled.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from trainers.common.errors import UserError
from trainers.config.settings import GanConfig
from trainers.config.strategy import NETWORKS
from trainers.config.trial import TrialConfig
from trainers.core.gan import Gan
from trainers.evaluation.evaluator import Evaluator
from trainers.evaluation.references import References
from trainers.networks import make_critic, make_generator
from trainers.trial import tensorflow, torch_files
from trainers.trial.checkpoints import Match, with_prefix
from trainers.trial.images import training_images
from trainers.trial.rung import Rung, Stopwatch, measured
from trainers.trial.style_layouts import recognised

#: From a tensor's name in a file to ours; None for a tensor to be ignored.
Names = Mapping[str, str | None]


@dataclass(frozen=True)
class Fitting:
    """The outcome of matching a file's tensors with our networks.

    Attributes:
        tensors: those with a counterpart, float32, by our names.
        matches: the outcome by network.
        ignored: names of the file's tensors that belong to neither network or that the map ignores, sorted.
        lines: the report: a line for each network and for each tensor without a counterpart.
    """

    tensors: dict[str, Tensor]
    matches: dict[str, Match]
    ignored: tuple[str, ...]
    lines: tuple[str, ...]

    def check(self, where: str) -> None:
        """Raise UserError unless every tensor of both networks has a counterpart and finite values."""
        unmatched = [f"{name}.{key}" for name, match in self.matches.items() for key in match.unmatched]
        if unmatched:
            first = next(line for line in self.lines if repr(unmatched[0]) in line)
            raise UserError(
                f"checkpoint {where!r} does not fit: {len(unmatched)} tensors without a counterpart of the same shape and of "
                f"floating-point numbers, the first is {' '.join(first.split())}; map its names with --map, or name a sweep "
                "with its `gan` with --for"
            )
        invalid = [key for key, tensor in self.tensors.items() if not tensor.isfinite().all()]
        if invalid:
            raise UserError(f"checkpoint {where!r} has values in {invalid[0]!r} that are not finite; it cannot be a source")

    @property
    def fingerprint(self) -> str:
        """Hash of the names, shapes and values of the tensors."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return f"import/1:{digest.hexdigest()[:32]}"


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, of PyTorch's file or of a TensorFlow checkpoint, by name and in our layout.

    Raises:
        UserError: the file is missing, incomplete or of another format, or TensorFlow is required and not installed.
    """
    if tensorflow.is_checkpoint(path):
        return tensorflow.read(path)
    if torch_files.is_torch_file(path):
        return torch_files.read(path)
    try:
        return load_tensors(path.read_bytes())
    except OSError as error:
        raise UserError(f"checkpoint {str(path)!r} cannot be read: {error.strerror}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"checkpoint {str(path)!r} is not a complete safetensors file ({str(error)[:100]!r}); pickles are never opened: "
            "save the tensors with safetensors.torch.save_file where they were trained"
        ) from error


def read_names(path: Path) -> dict[str, str | None]:
    """Return the map in a JSON file: an object from names in the checkpoint to ours, or to null for tensors to ignore.

    Raises:
        UserError: the file is missing or has other content.
    """
    message = f"--map {str(path)!r} is not a JSON object of names"
    message += ', e.g. {"G.conv.weight": "generator.output.weight", "step": null}'
    try:
        names = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"--map {str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(message) from error
    if not isinstance(names, dict) or not all(ours is None or isinstance(ours, str) for ours in names.values()):
        raise UserError(message)
    return names


def fit(tensors: Mapping[str, Tensor], names: Names, gan: GanConfig, classes: int) -> Fitting:
    """Match a file's tensors, by name, with the networks of a configuration; `classes` is 0 for unconditional ones.

    `names` has our names of some of them; names of the paper's code and, without a map, of published style-based networks are
    translated, all others stay as they are.

    Raises:
        UserError: the map names a tensor that the file lacks, or gives two tensors the same name; a published layout has other
            networks.
    """
    notes: list[str] = []
    if not names and (layout := recognised(tensors)) is not None:
        layout.check(gan, classes)
        tensors = layout.translated()
        notes = [f"layout: {layout.whose}" + (f", from {', '.join(layout.parts)}" if layout.parts else "")]
    absent = sorted(set(names) - set(tensors))
    if absent:
        raise UserError(f"--map names tensor {absent[0]!r}, which the checkpoint does not have")
    theirs: dict[str, Tensor] = {}
    ignored = []
    for name, tensor in tensors.items():
        ours = names.get(name, tensorflow.our_name(name))
        if ours is None or not ours.startswith(tuple(f"{network}." for network in NETWORKS)):
            ignored.append(name)
        elif ours in theirs:
            raise UserError(f"--map: two tensors of the checkpoint are named {ours!r}")
        else:
            theirs[ours] = tensor
    networks = {"generator": make_generator(gan, classes), "critic": make_critic(gan, classes)}
    fitting: dict[str, Tensor] = {}
    matches, lines = {}, notes
    for name, network in networks.items():
        state = {f"{name}.{key}": tensor for key, tensor in network.state_dict().items()}
        given = {key for key in theirs if key.startswith(f"{name}.")}
        same = {key for key in given & set(state) if theirs[key].shape == state[key].shape and theirs[key].is_floating_point()}
        fitting |= {key: theirs[key].float() for key in same}
        groups = {"matched": same, "missing": set(state) - given, "unexpected": given - set(state)}
        groups["mismatched"] = (given & set(state)) - same
        matches[name] = Match(**{group: tuple(sorted(k.partition(".")[2] for k in keys)) for group, keys in groups.items()})
        lines.append(f"{name}: {len(same)} of {len(state)} tensors matched")
        for group in ("missing", "unexpected", "mismatched"):
            for key in sorted(groups[group]):
                both = [f"{whose} {_described(t[key])}" for whose, t in (("ours", state), ("theirs", theirs)) if key in t]
                lines.append(f"  {group:<10} {key!r}: {', '.join(both)}")
    lines += [f"ignored: {name!r} {tuple(tensors[name].shape)}" for name in sorted(ignored)]
    return Fitting(fitting, matches, tuple(sorted(ignored)), tuple(lines))


def _described(tensor: Tensor) -> str:
    """Return the shape of a tensor, and its type where that makes it no weights."""
    shape = str(tuple(tensor.shape))
    return shape if tensor.is_floating_point() else f"{shape} of {str(tensor.dtype).removeprefix('torch.')}"


def first_rung(trial: TrialConfig, fitting: Fitting, references: References) -> Rung:
    """Return the only rung of an imported source, by its pretrain trial and its checked networks: step 0, finished."""
    began = time.perf_counter()
    data = training_images(trial)
    classes = trial.domain.classes if trial.conditional else ()
    gan = Gan(trial.gan, trial.training, classes=len(classes), seed=trial.base_seed)
    for name, network in gan.networks.items():
        network.load_state_dict(with_prefix(fitting.tensors, f"{name}."))
    gan.restart_average()
    evaluation = Stopwatch()
    with evaluation.running():
        evaluate = Evaluator(trial, data, references, "cpu")
    return measured(gan, evaluate, fitting.matches, began, evaluation)
