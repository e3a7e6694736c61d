"""A trial's generator as files that draw images without transfergan, and its networks as a file that can be imported."""

import io
import json
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.images.exported import WRITTEN, Description, texts
from bench.images.generate import matching_key, read_generator
from bench.store import Store
from bench.store.plans import given_names
from bench.store.trial_files import check_checkpoint, critics
from trainers.common.errors import DamagedError, UserError, first_line
from trainers.config.sources import renamed
from trainers.config.trial import DomainRef

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.networks import Generator
    from trainers.trial.checkpoints import Checkpoint


def export(store: Store, trial: str, file_format: str, out: Path) -> str:
    """Write a trial's networks at its best rung into a new folder, with a README; return what they are of.

    Args:
        trial: as `matching_key` takes it.
        file_format: one of `FORMATS`, for the generator with a script that draws images; or `NETWORKS`, for the generator and
            the critic as `trainers.trial.imports.read` reads them.
        out: the folder; it is created if it is missing, and must be empty.

    Raises:
        UserError: `out` is not empty or cannot be written, a package is missing, `trial` matches no trial or several, it has
            no such networks or diverged. Nothing has been written then, unless `out` cannot be.
    """
    _check_folder(out)
    if file_format == "onnx" and (missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]):
        raise UserError(f"--format onnx needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    key = matching_key(store, trial)
    _check_status(store, key)
    step, loaded, generator = read_generator(store, key, "best")
    description = _describe(key, step, loaded, given_names(store))
    generator = generator.eval().requires_grad_(False)
    if file_format == "safetensors" and description.trial.gan.family not in WRITTEN:
        raise UserError(
            f"--format safetensors has code beside it, and there is none for gan.family {description.trial.gan.family}; use "
            "--format torchscript or onnx"
        )
    _check_images(generator, description)
    if file_format == NETWORKS:
        files = {"networks.safetensors": _networks(store, key, loaded, description)}
        notes = {"README.md": readme_of_networks(description)}
    else:
        name, pack = FORMATS[file_format]
        files, notes = {name: pack(generator, description)}, texts(file_format, description)
    files |= {name: text.encode() for name, text in notes.items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (out / name).write_bytes(data)
    except OSError as error:
        raise UserError(f"{str(out)!r} cannot be written: {error.strerror}; name another with --out") from error
    return f"trial {key}, {step}"


def _check_folder(out: Path) -> None:
    try:
        used = out.exists() and any(out.iterdir())
    except OSError as error:  # it is a file, or must not be read
        raise UserError(f"--out {str(out)!r} cannot be used: {error.strerror}; name a new folder") from error
    if used:
        raise UserError(f"--out {str(out)!r} is not empty; name a new folder")


def _check_status(store: Store, key: str) -> None:
    trials = store.read("trials")
    for status, error in trials.loc[trials["key"] == key, ["status", "error"]].itertuples(index=False):
        if status == "diverged":
            why = f" ({first_line(ValueError(error))})" if isinstance(error, str) else ""
            raise UserError(f"trial {key} diverged{why}, so its generator is of no use; export another trial")


def _describe(key: str, step: str, loaded: "Checkpoint", given: Mapping[str, str]) -> Description:
    """Return what the exported files say of a generator; `given` are names to show for domains."""

    def called(ref: DomainRef) -> DomainRef:
        return ref.model_copy(update={"name": renamed(ref.name, given)})

    trial = loaded.trial
    ends = {"domain": called(trial.domain), "source": None if trial.source is None else called(trial.source)}
    counts = loaded.tensors.get("class_counts")
    trained = range(len(loaded.classes)) if counts is None else counts.nonzero().flatten().tolist()
    return Description(key, step, trial.model_copy(update=ends), loaded.classes, tuple(trained))


def _example(description: Description, n: int) -> "tuple[Tensor, ...]":
    """Return n latents, and classes in turn if the generator is conditional."""
    import torch

    latents = torch.randn(n, description.trial.gan.latent, generator=torch.Generator().manual_seed(0))
    return (latents, torch.arange(n) % len(description.classes)) if description.classes else (latents,)


def _check_images(generator: "Generator", description: Description) -> None:
    from trainers.core.sampling import BATCH

    if not generator(*_example(description, BATCH)).isfinite().all():
        raise UserError(
            f"trial {description.key} draws images with values that are not finite ({description.step}): it diverged; export "
            "another trial"
        )


def _torchscript(generator: "Generator", description: Description) -> bytes:
    import torch

    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; a check of the batch's size is no part of it
        trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace
        torch.jit.save(trace(generator, _example(description, 8), check_trace=False), data)
    return data.getvalue()


def _onnx(generator: "Generator", description: Description) -> bytes:
    import torch
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    inputs = {"z": "latents", "labels": "classes"} if description.classes else {"z": "latents"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated functions that the exporter calls
        program = torch.onnx.export(
            generator, _example(description, 8), input_names=list(inputs.values()), output_names=["images"],
            dynamic_shapes={name: {0: "N"} for name in inputs}, dynamo=True, verbose=False,
        )  # fmt: skip
        assert program is not None
        ClearMetadataAndDocStringPass()(program.model)  # stack traces, with paths of this machine
        program.model.metadata_props.update(_metadata(description))
        return bytes(program.model_proto.SerializeToString())


def _safetensors(generator: "Generator", description: Description) -> bytes:
    from safetensors.torch import save

    tensors = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    return save(tensors, _metadata(description))


def _networks(store: Store, key: str, loaded: "Checkpoint", description: Description) -> bytes:
    from safetensors.torch import save

    from trainers.networks import make_critic, make_generator
    from trainers.trial import checkpoints

    path = critics(store, key).get(loaded.step)
    if path is None:
        raise UserError(
            f"trial {key} has no critic at its best rung, {description.step}: it was pruned, another evaluation chose it, "
            "or an older version trained it; `transfergan continue` keeps a critic once a later rung has a lower FID"
        )
    try:
        check_checkpoint(store, path, data := store.read_file(path))
    except DamagedError as error:
        raise UserError(f"{path} in store {store.uri!r} is not used: {error}") from error
    parts = {"generator": loaded.network("generator"), "critic": checkpoints.load(data, path).network("critic")}
    trial, classes = loaded.trial, len(loaded.classes)
    plain = {"generator": make_generator(trial.gan, classes), "critic": make_critic(trial.gan, classes)}
    if added := sorted(name for part in parts for name in parts[part].keys() - plain[part].state_dict().keys()):
        raise UserError(f"strategy {trial.strategy} adds layers ({added[0]!r}), and networks with these cannot be imported")
    tensors = {f"{part}.{name}": tensor.contiguous() for part in parts for name, tensor in parts[part].items()}
    return save(tensors, _metadata(description))


def readme_of_networks(description: Description) -> str:
    """Return the README beside both networks, with the command that imports them."""
    from bench.sweeps.loading import load_spec

    # What is not in the dump has its default, in the quickstart too.
    gan, loss, usual = description.trial.gan, description.trial.training.loss, load_spec("quickstart", ())
    settings = [f"--set gan.{name}={value}" for name, value in gan.model_dump().items() if value != getattr(usual.gan, name)]
    settings += [f"--set training.loss={loss}"] if loss != usual.training.loss else []
    command = ["transfergan import networks.safetensors --domain DOMAIN --name NAME --store STORE", *settings]
    command += ["--conditional"] if description.classes else []
    return f"""\
# The networks of transfergan's trial {description.key}

Trained on {description.training}; {description.step}.

- `networks.safetensors`: float32 tensors `generator.*` (its moving average, if it has one) and `critic.*`.
- `{" ".join(command)}` makes them a source, `import:NAME` under `sources` of a sweep file with the same `gan`.
- DOMAIN is where these images are read from, e.g. folder:PATH.{description.class_names}
"""


def _metadata(description: Description) -> dict[str, str]:
    gan = description.trial.gan
    settings = {name: str(value) for name, value in gan.model_dump().items()}
    return {**settings, "classes": json.dumps(description.classes), "trial": description.key, "step": description.step}


#: The format of both networks, for `transfergan import`.
NETWORKS = "networks"

#: The name of the exported file, and what makes its bytes, by format.
FORMATS: dict[str, tuple[str, Callable[["Generator", Description], bytes]]] = {
    "torchscript": ("generator.pt", _torchscript),
    "onnx": ("generator.onnx", _onnx),
    "safetensors": ("generator.safetensors", _safetensors),
}
