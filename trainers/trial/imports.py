"""Networks saved by others, as a source: read from a file, matched with ours by name, and measured once.

A generator and a critic are asked for, with our names (``generator.*``, ``critic.*``), those of the paper's code (see
`trainers.tf_checkpoints`), or names that a map turns into ours. All of ours must find their partners, and theirs within these
two; what else the file has is left out. Nothing is ever unpickled.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from trainers.adaptation.fisher import fisher
from trainers.common.errors import UserError
from trainers.config.settings import GanConfig
from trainers.config.strategy import NETWORKS
from trainers.config.trial import TrialConfig
from trainers.core.gan import Gan
from trainers.evaluation.evaluator import Evaluator
from trainers.evaluation.references import References
from trainers.networks import make_critic, make_generator
from trainers.trial import checkpoints, tensorflow
from trainers.trial.checkpoints import Match
from trainers.trial.run import Rung, peak_memory_mib, training_images

#: From a tensor's name in a file to ours; None for one that is to be left out.
Names = Mapping[str, str | None]


@dataclass(frozen=True)
class Fitting:
    """What became of a file's tensors.

    Attributes:
        tensors: those that have a partner, float32, by our names.
        matches: by network.
        left: names outside both networks, and those that the map leaves out.
        lines: the report, a line for each tensor that has no partner, and one for each network.
    """

    tensors: dict[str, Tensor]
    matches: dict[str, Match]
    left: tuple[str, ...]
    lines: tuple[str, ...]

    def check(self, where: str) -> None:
        """Raise UserError unless every tensor of either network has its partner."""
        wrong = [f"{name}.{key}" for name, match in self.matches.items() for key in match.unmatched]
        if wrong:
            raise UserError(
                f"checkpoint {where!r} does not fit: {len(wrong)} tensors without a partner of the same shape, the first is "
                f"{wrong[0]!r}; map its names with --map, or name a sweep with its `gan` with --for"
            )
        odd = [key for key, tensor in self.tensors.items() if not tensor.isfinite().all()]
        if odd:
            raise UserError(f"checkpoint {where!r} has numbers in {odd[0]!r} that are not finite; it cannot be a source")

    @property
    def fingerprint(self) -> str:
        """Identity of the networks' numbers."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return f"import/1:{digest.hexdigest()[:32]}"


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a checkpoint of TensorFlow's in our layout, by name.

    Raises:
        UserError: there is no such file, or it is none of that kind, or not whole; or it takes TensorFlow to read it.
    """
    if tensorflow.is_checkpoint(path):
        return tensorflow.read(path)
    try:
        return load_tensors(path.read_bytes())
    except OSError as error:
        raise UserError(f"checkpoint {str(path)!r} cannot be read: {error.strerror}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"checkpoint {str(path)!r} is not a whole safetensors file ({str(error)[:100]!r}); pickled ones are never opened: "
            "save the tensors with safetensors.torch.save_file where they come from"
        ) from error


def read_names(path: Path) -> dict[str, str | None]:
    """Return the map in a JSON file: an object from names in the checkpoint to ours, or to null for what is left out.

    Raises:
        UserError: there is no such file, or something else is in it.
    """
    wanted = f"--map {str(path)!r} is not a JSON object of names"
    wanted += ', e.g. {"G.conv.weight": "generator.output.weight", "step": null}'
    try:
        names = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"--map {str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(wanted) from error
    if not isinstance(names, dict) or not all(ours is None or isinstance(ours, str) for ours in names.values()):
        raise UserError(wanted)
    return names


def fit(tensors: Mapping[str, Tensor], names: Names, gan: GanConfig, classes: int) -> Fitting:
    """Match a file's tensors with the networks of a configuration.

    Args:
        tensors: of the file.
        names: what some of them are called with us; the others keep their names, but for those of the paper's code.
        gan: the networks.
        classes: how many they know; 0 for unconditional ones.

    Raises:
        UserError: the map names a tensor that is not there, or gives two the same name.
    """
    absent = sorted(set(names) - set(tensors))
    if absent:
        raise UserError(f"--map names tensor {absent[0]!r}, and the checkpoint has none of that name")
    theirs: dict[str, Tensor] = {}
    left = []
    for name, tensor in tensors.items():
        ours = names.get(name, tensorflow.our_name(name))
        if ours is None or not ours.startswith(tuple(f"{network}." for network in NETWORKS)):
            left.append(name)
        elif ours in theirs:
            raise UserError(f"--map: two tensors of the checkpoint are called {ours!r}")
        else:
            theirs[ours] = tensor
    networks = {"generator": make_generator(gan, classes), "critic": make_critic(gan, classes)}
    found: dict[str, Tensor] = {}
    matches, lines = {}, []
    for network, made in networks.items():
        state = {f"{network}.{key}": tensor for key, tensor in made.state_dict().items()}
        own = {key for key in theirs if key.startswith(f"{network}.")}
        same = {key for key in own & set(state) if theirs[key].shape == state[key].shape and theirs[key].is_floating_point()}
        found |= {key: theirs[key].float() for key in same}
        groups = {"matched": same, "missing": set(state) - own, "unexpected": own - set(state)}
        groups["mismatched"] = (own & set(state)) - same
        matches[network] = Match(**{what: tuple(sorted(k.partition(".")[2] for k in keys)) for what, keys in groups.items()})
        lines.append(f"{network}: {len(same)} of {len(state)} tensors matched")
        for what in ("missing", "unexpected", "mismatched"):
            for key in sorted(groups[what]):
                shapes = [f"{whose} {tuple(t[key].shape)}" for whose, t in (("ours", state), ("theirs", theirs)) if key in t]
                lines.append(f"  {what:<10} {key!r}: {', '.join(shapes)}")
    lines += [f"left out: {name!r} {tuple(tensors[name].shape)}" for name in sorted(left)]
    return Fitting(found, matches, tuple(sorted(left)), tuple(lines))


def first_rung(trial: TrialConfig, fitting: Fitting, references: References) -> Rung:
    """Return all that an imported source has to show: it is measured at step 0, and done.

    Args:
        trial: what it is recorded as.
        fitting: its networks, checked.
        references: has the reference that it is measured against.
    """
    began = time.perf_counter()
    data = training_images(trial)
    classes = trial.domain.classes if trial.conditional else ()
    gan = Gan(trial.gan, trial.training, classes=len(classes), seed=trial.seed)
    for name, network in gan.networks.items():
        prefix = f"{name}."
        network.load_state_dict({k.removeprefix(prefix): v for k, v in fitting.tensors.items() if k.startswith(prefix)})
    gan.restart_average()
    evaluate = Evaluator(trial, data, references, "cpu")
    shown = Rung(
        step=0,
        measurements=evaluate(gan),
        embedding=evaluate.embedding.identity,
        checkpoint=None,
        samples=evaluate.grid(gan),
        images_seen=0,
        seconds=time.perf_counter() - began,
        images_per_second=None,
        peak_memory_mib=peak_memory_mib(gan.device),
        finished=True,
    )
    fishers = fisher(gan.generator, gan.critic, trial.training, gan.latent, trial.seed)
    kept = checkpoints.save(gan, trial, fitting.matches, shown.report, resumable=False, fishers=fishers)
    return replace(shown, checkpoint=kept)
