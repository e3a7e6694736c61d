"""DINOv2 and CLIP: their features compared with independent code, on random weights in the official files' formats."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erf
from torch import Tensor, nn
from torchvision import transforms

from trainers.common.errors import UserError
from trainers.config.embeddings import ALIASES, PUBLISHED, check_embedding, embedding_identity
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.evaluation.embeddings.vision_transformer import Clip, Dinov2, positions

BICUBIC = transforms.InterpolationMode.BICUBIC
State = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    embedding_identity.cache_clear()
    load_embedding.cache_clear()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def images(n: int = 3, side: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def weights(*shape: int, around: float = 0.0) -> Tensor:
    return around + torch.randn(shape) * (0.3 if len(shape) == 1 else shape[-1] ** -0.5)


def named(prefix: str, rows: int, columns: int | None = None) -> State:
    """Return a linear layer's tensors, or a norm's if there are no columns."""
    first = weights(rows, around=1.0) if columns is None else weights(rows, columns)
    return {f"{prefix}.weight": first, f"{prefix}.bias": weights(rows)}


# -- DINOv2 -------------------------------------------------------------------------------------------------------------


def dinov2_state(width: int = 384, depth: int = 2) -> State:
    """Return a state dict with the tensors of the official files; these have 12 or 24 blocks."""
    state = {
        "cls_token": weights(1, 1, width), "pos_embed": weights(1, 1 + 37 * 37, width), "mask_token": torch.zeros(1, width),
        "patch_embed.proj.weight": weights(width, 3, 14, 14) / 14, "patch_embed.proj.bias": weights(width),
        **named("norm", width),
    }  # fmt: skip
    for k in range(depth):
        state |= named(f"blocks.{k}.norm1", width) | named(f"blocks.{k}.norm2", width)
        state |= named(f"blocks.{k}.attn.qkv", 3 * width, width) | named(f"blocks.{k}.attn.proj", width, width)
        state |= named(f"blocks.{k}.mlp.fc1", 4 * width, width) | named(f"blocks.{k}.mlp.fc2", width, 4 * width)
        state |= {f"blocks.{k}.ls{i}.gamma": weights(width, around=0.5) for i in (1, 2)}
    return state


def cubic(before: int, after: int) -> NDArray[np.float64]:
    """Return the matrix (after, before) of a cubic convolution (Keys 1981, a = -0.75) with the scale of `after` + 0.1."""
    matrix = np.zeros((after, before))
    for i in range(after):
        centre = (i + 0.5) * before / (after + 0.1) - 0.5
        for j in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            d = abs(centre - j)
            near, far = 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[i, min(max(j, 0), before - 1)] += near if d <= 1 else far
    return matrix


def norm(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * state[f"{name}.weight"] + state[f"{name}.bias"]


def by_hand(tensors: State, x: np.ndarray) -> np.ndarray:
    """Return DINOv2's features of prepared images (N, 3, 224, 224), in float64 and without PyTorch's layers."""
    state = {name: tensor.double().numpy() for name, tensor in tensors.items()}

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    n, width = len(x), state["cls_token"].shape[-1]
    patches = x.reshape(n, 3, 16, 14, 16, 14).transpose(0, 2, 4, 1, 3, 5).reshape(n, 256, -1)
    patches = patches @ state["patch_embed.proj.weight"].reshape(width, -1).T + state["patch_embed.proj.bias"]
    matrix, grid = cubic(37, 16), state["pos_embed"][0, 1:].reshape(37, 37, width)
    patches = patches + np.einsum("ik,jl,klc->ijc", matrix, matrix, grid, optimize=True).reshape(256, width)
    tokens = np.concatenate([np.tile(state["cls_token"] + state["pos_embed"][:, :1], (n, 1, 1)), patches], 1)
    for k in range(sum(name.endswith("ls1.gamma") for name in state)):
        block = f"blocks.{k}"
        qkv = linear(norm(tokens, state, f"{block}.norm1"), f"{block}.attn.qkv")
        q, key, value = qkv.reshape(n, 257, 3, width // 64, 64).transpose(2, 0, 3, 1, 4)
        scores = np.exp(q @ key.transpose(0, 1, 3, 2) / 8)
        mixed = (scores / scores.sum(-1, keepdims=True) @ value).transpose(0, 2, 1, 3).reshape(n, 257, width)
        tokens = tokens + state[f"{block}.ls1.gamma"] * linear(mixed, f"{block}.attn.proj")
        hidden = linear(norm(tokens, state, f"{block}.norm2"), f"{block}.mlp.fc1")
        hidden = hidden * (1 + erf(hidden / 2**0.5)) / 2
        tokens = tokens + state[f"{block}.ls2.gamma"] * linear(hidden, f"{block}.mlp.fc2")
    return norm(tokens, state, "norm")[:, 0]


def test_dinov2s_features_are_those_of_float64_by_hand(tmp_path: Path):
    state, file = dinov2_state(depth=2), tmp_path / "mine.pth"
    torch.save(state, file)
    embed = load_embedding(f"dinov2-vits14:{file}")
    assert embed.identity == embedding_identity(f"dinov2-vits14:{file}")
    assert embed.identity.startswith("dinov2-vits14:")
    some = images(2)
    prepared = embed.prepare(some).double().numpy()  # type: ignore[attr-defined]
    features, expected = embed(some), by_hand(state, prepared)
    assert features.shape == (2, 384)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(features[0] - features[1]).max() > 0.1


def test_positions_are_moved_as_in_the_authors_code():
    embedding = torch.randn(1, 1 + 37 * 37, 5, dtype=torch.float64)
    assert positions(embedding, 37) is embedding
    moved, matrix = positions(embedding, 16), cubic(37, 16)
    assert moved.shape == (1, 257, 5)
    torch.testing.assert_close(moved[:, 0], embedding[:, 0])
    expected = np.einsum("ik,jl,klc->ijc", matrix, matrix, embedding[0, 1:].reshape(37, 37, 5).numpy())
    np.testing.assert_allclose(moved[0, 1:].reshape(16, 16, 5), expected, atol=1e-12)


class Payload:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def test_a_file_that_is_not_the_networks_is_named_and_never_unpickled(tmp_path: Path):
    file, trace = tmp_path / "dinov2_vits14_pretrain.pth", tmp_path / "trace"
    said = r"is not dinov2_vits14_pretrain\.pth of DINOv2 ViT-S/14 \(Oquab et al\. 2023\), or it is damaged; replace it"
    for content in (b"not a network", {"a": torch.zeros(3)}, Payload(trace), dinov2_state(128, 1)):
        file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
        with pytest.raises(UserError, match=said) as error:
            Dinov2(f"dinov2-vits14:{file}", "dinov2-vits14:0", "cpu")
        assert "\n" not in str(error.value)
    assert "its features have 128 dimensions, not 384" in str(error.value)
    assert not trace.exists()


# -- CLIP ---------------------------------------------------------------------------------------------------------------


def clip_state(width: int = 128, depth: int = 2) -> State:
    """Return a state dict with the tensors of the official file, which has width 768 and 12 blocks."""
    state = {
        "visual.class_embedding": weights(width), "visual.positional_embedding": weights(50, width),
        "visual.conv1.weight": weights(width, 3, 32, 32) / 32, "visual.proj": weights(width, 512),
        "text_projection": weights(64, 512), "logit_scale": torch.tensor(4.6), **named("transformer.resblocks.0.ln_1", 64),
        **named("visual.ln_pre", width), **named("visual.ln_post", width),
    }  # fmt: skip
    for k in range(depth):
        block = f"visual.transformer.resblocks.{k}"
        state |= named(f"{block}.ln_1", width) | named(f"{block}.ln_2", width) | named(f"{block}.attn.out_proj", width, width)
        state |= {f"{block}.attn.in_proj_weight": weights(3 * width, width), f"{block}.attn.in_proj_bias": weights(3 * width)}
        state |= named(f"{block}.mlp.c_fc", 4 * width, width) | named(f"{block}.mlp.c_proj", width, 4 * width)
    return {name: tensor.half() for name, tensor in state.items()}


def program(state: State, file: Path) -> Path:
    """Save a TorchScript program with these tensors, as the official file is."""
    root = nn.Module()
    for name, tensor in state.items():
        module, *folders = root, *name.split(".")[:-1]
        for folder in folders:
            if not hasattr(module, folder):
                module.add_module(folder, nn.Module())
            module = getattr(module, folder)
        module.register_parameter(name.rpartition(".")[2], nn.Parameter(tensor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of TorchScript's end
        torch.jit.save(torch.jit.script(root), str(file))
    return file


def test_clips_features_are_those_of_torch_fidelitys_network(tmp_path: Path):
    from torch_fidelity.feature_extractor_clip import MODEL_URLS, build_model

    state = clip_state()
    embed = load_embedding(f"clip-vitb32:{program(state, tmp_path / 'ViT-B-32.pt')}")
    theirs = build_model({name: tensor.float() for name, tensor in state.items()}, torch.float32)
    some = images()
    with torch.no_grad():
        expected = theirs.visual(embed.prepare(some)).numpy()  # type: ignore[attr-defined]
    features = embed(some)
    assert features.shape == (3, 512)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 0.1
    assert embed.identity.startswith("clip:"), "the identity is in the keys of existing stores"
    assert MODEL_URLS["clip-vit-b-32"] == PUBLISHED["clip"].address


@pytest.mark.parametrize("content", [b"not a network", {"visual.proj": torch.zeros(3, 512)}])
def test_a_file_that_is_not_clip_is_named(tmp_path: Path, content: bytes | State):
    file = tmp_path / "ViT-B-32.pt"
    file.write_bytes(content) if isinstance(content, bytes) else program(content, file)
    with pytest.raises(UserError, match=r"is not ViT-B-32\.pt of CLIP ViT-B/32 .*, or it is damaged; replace it"):
        load_embedding(f"clip:{file}")


# -- both ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [20, 224, 300])
def test_images_are_prepared_as_by_stein_et_al_and_by_openai(side: int):
    of_dinov2 = transforms.Compose([
        transforms.Resize((224, 224), BICUBIC), transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    of_clip = transforms.Compose([
        transforms.Resize(224, BICUBIC), transforms.CenterCrop(224), transforms.ToTensor(),
        transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ])  # fmt: skip
    some = images(side=side)
    for kind, theirs in ((Dinov2, of_dinov2), (Clip, of_clip)):
        embedding = object.__new__(kind)
        embedding._side = 224
        expected = torch.stack([theirs(transforms.ToPILImage()(image)) for image in some])
        torch.testing.assert_close(embedding.prepare(some), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_no_image_knows_of_its_batch(tmp_path: Path):
    embed = load_embedding(f"clip:{program(clip_state(64, 1), tmp_path / 'ViT-B-32.pt')}")
    some = images(40)  # more than one batch
    together = embed(some)
    np.testing.assert_allclose(np.concatenate([embed(some[i : i + 1]) for i in (0, 31, 39)]), together[[0, 31, 39]], atol=1e-5)


def test_an_alias_is_the_network_that_it_stands_for(tmp_path: Path):
    assert ALIASES == {"dinov2": "dinov2-vitl14", "clip-vitb32": "clip"}
    file = tmp_path / "weights"
    file.write_bytes(b"weights")
    for alias, name in ALIASES.items():
        assert check_embedding(f"{alias}:{file}") == f"{name}:{file}"
        assert embedding_identity(f"{alias}:{file}") == embedding_identity(f"{name}:{file}")
        assert embedding_identity(f"{name}:{file}").startswith(f"{name}:")
        assert check_embedding(f"{alias}:{tmp_path}/none", announced=True) == f"announced:{name}:{tmp_path}/none"


def test_weights_lie_where_their_own_programs_keep_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from cleanfid.downloads_helper import inception_url

    assert PUBLISHED["inception"].address == inception_url
    assert PUBLISHED["inception"].file == Path("/tmp/inception-2015-12-05.pt")
    for name, value in (("TORCH_HOME", None), ("XDG_CACHE_HOME", str(tmp_path)), ("TORCH_HOME", str(tmp_path / "torch"))):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        of_torch = Path(torch.hub.get_dir()) / "checkpoints" / "dinov2_vitl14_pretrain.pth"
        assert PUBLISHED["dinov2-vitl14"].file == of_torch
    assert all(len(network.sha256) == 64 for network in PUBLISHED.values())
