"""The contract of the strategies, each in every family of networks: what is copied, frozen, trained, held; and resuming."""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.endurance import TIMES, pairs
from trainers.adaptation.anchors import Anchors, relative
from trainers.adaptation.describe import inventory
from trainers.adaptation.fisher import BATCH, SAMPLES, fisher
from trainers.adaptation.low_rank import LowRankUpdate
from trainers.adaptation.weight_updates import merged_state
from trainers.common.errors import UserError
from trainers.common.seeds import derive_seed
from trainers.config import blocks
from trainers.config.blocks import Network
from trainers.config.settings import STYLED, EvaluationConfig, GanConfig, TrainingConfig
from trainers.config.strategies import STRATEGIES, get_strategy, in_cell
from trainers.config.strategy import NETWORKS, NONE, Phase, Strategy
from trainers.config.trial import DomainRef, TrialConfig
from trainers.core.gan import Gan
from trainers.core.sampling import sample
from trainers.networks import Critic, make_critic, make_generator
from trainers.trial import checkpoints, transfer
from trainers.trial.checkpoints import Checkpoint
from trainers.trial.run import start

FAMILIES = {
    "resnet": "wgan-gp",
    "sngan": "hinge",
    "dcgan": "hinge",
    "fast": "hinge",
    "style": "non-saturating",
    "style-bilinear": "non-saturating",
}
STEPS, PROBE = 8, 2  # the steps of a trial with two phases, and those in its first: a quarter

#: Beginnings of the names of the tensors that are frozen in the last phase, at 16 pixels, by family.
FROZEN: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "freeze-d": {
        "resnet": {"critic": ("input.", "blocks.0.")}, "sngan": {"critic": ("first.",)}, "dcgan": {"critic": ("input.",)},
        "style": {"critic": ("input.", "blocks.0.")}, "style-bilinear": {"critic": ("blocks.0.",)},
        "fast": {"critic": ("input.", "blocks.0.")},
    },
    "freeze-d[blocks=2]": {
        "resnet": {"critic": ("input.", "blocks.0.", "blocks.1.")}, "sngan": {"critic": ("first.", "blocks.0.")},
        "dcgan": {"critic": ("input.", "downs.0.", "norms.0.")}, "style": {"critic": ("input.", "blocks.0.", "blocks.1.")},
        "style-bilinear": {"critic": ("blocks.0.", "blocks.1.")},
        "fast": {"critic": ("input.", "blocks.0.", "blocks.1.", "decoders.")},
    },
    "freeze-g": {
        "resnet": {"generator": ("input.", "blocks.0.")}, "sngan": {"generator": ("input.", "blocks.0.")},
        "dcgan": {"generator": ("input.", "ups.0.", "norms.0.")}, "style": {"generator": ("input.", "first.")},
        "style-bilinear": {"generator": ("input.", "first.")}, "fast": {"generator": ("input.", "norm.", "blocks.0.")},
    },
    "freeze-low[critic=2]": {
        "resnet": {"generator": ("norm.", "output.", "blocks.1."), "critic": ("input.", "blocks.0.", "blocks.1.")},
        "sngan": {"generator": ("norm.", "output.", "blocks.1."), "critic": ("first.", "blocks.0.")},
        "dcgan": {
            "generator": ("ups.0.", "norms.0.", "ups.1.", "norms.1."), "critic": ("input.", "downs.0.", "norms.0."),
        },
        "style": {"generator": ("blocks.1.",), "critic": ("input.", "blocks.0.", "blocks.1.")},
        "style-bilinear": {"generator": ("blocks.1.", "noise"), "critic": ("blocks.0.", "blocks.1.")},
        "fast": {"generator": ("output.", "blocks.1."), "critic": ("input.", "blocks.0.", "blocks.1.", "decoders.")},
    },
    "freeze-low": {
        "resnet": {"generator": ("norm.", "output.", "blocks.1."), "critic": ("input.", "blocks.0.")},
        "sngan": {"generator": ("norm.", "output.", "blocks.1."), "critic": ("first.",)},
        "dcgan": {"generator": ("ups.0.", "norms.0.", "ups.1.", "norms.1."), "critic": ("input.",)},
        "style": {"generator": ("blocks.1.",), "critic": ("input.", "blocks.0.")},
        "style-bilinear": {"generator": ("blocks.1.", "noise"), "critic": ("blocks.0.",)},
        "fast": {"generator": ("output.", "blocks.1."), "critic": ("input.", "blocks.0.")},
    },
}  # fmt: skip
FROZEN["adafm"] = FROZEN["freeze-low"]

#: The strategies that copy some blocks.
PARTLY_COPIED = ("freeze-low", "adafm")

#: In the first phase of those that have two, what is trained.
PROBED = {
    "mine": {"generator": ("input.miner.",), "critic": ("",)},
    "linear-probe-then-finetune": {"generator": ("input.",), "critic": ("score.",)},
    "adam[share=0.25]": {"generator": ("kml_",), "critic": ("kml_",)},
}


def steps_of(name: str) -> int:
    """Return the steps of a trial: in the suite fewer, if no phase ends at a share of them and no penalty is compared."""
    return STEPS if TIMES or name in (*PROBED, "finetune") or "[weight=" in name else STEPS // 2


#: The strategies that update convolutions.
UPDATED = ("lora", "adafm", "adam", "adam[share=0.25]")

NAMES = ["adam[share=0.25]", *STRATEGIES, "freeze-d[blocks=2]", "freeze-low[critic=2]"]


def shape(family: str) -> GanConfig:
    mapping = {"mapping": 2} if family in STYLED else {}
    return GanConfig.model_validate({"family": family, "resolution": 16, "width": 4, "latent": 8, **mapping})


def training(family: str, **changes: Any) -> TrainingConfig:
    data = {"loss": FAMILIES[family], "steps": STEPS, "batch": 4, "critic_steps": 1, "ema": 0.5, "precision": "bf16"}
    return TrainingConfig.model_validate({**data, "generator_lr": 1e-3, "critic_lr": 1e-3, **changes})


def trial(family: str, strategy: str | None, classes: tuple[str, ...] = ()) -> TrialConfig:
    domain = DomainRef(name="toy", fingerprint="toy/1", classes=classes)
    return TrialConfig(
        kind="pretrain" if strategy is None else "adapt", domain=domain, size=12, strategy=strategy,
        conditional=bool(classes), gan=shape(family), evaluation=EvaluationConfig(),
        training=training(family, **({} if strategy is None else {"steps": steps_of(strategy)})),
    )  # fmt: skip


def images() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8), np.arange(12) % 2


PIXELS, LABELS = images()


@cache
def source(family: str, classes: tuple[str, ...] = ()) -> Checkpoint:
    """Return a source whose tensors all differ from newly initialised ones."""
    gan = Gan(shape(family), training(family, ema=0.0), classes=len(classes), seed=3)
    torch.manual_seed(0)
    for network in gan.networks.values():
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    written = trial(family, None, classes)
    return checkpoints.load(checkpoints.save(gan, written, {}, {}, resumable=False), "source")


@pytest.fixture(autouse=True, scope="module")
def fisher_information_once() -> Iterator[None]:
    """Compute the Fisher information of each source once: it takes half a second of each start that holds networks by it."""
    computed: dict[str, dict[str, Tensor]] = {}
    original = transfer._fishers

    def once(source: Checkpoint, device: torch.device) -> dict[str, Tensor]:
        if source.trial.key not in computed:
            computed[source.trial.key] = original(source, device)
        return {name: tensor.clone() for name, tensor in computed[source.trial.key].items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_fishers", once)
        yield


def begun(family: str, name: str, classes: tuple[str, ...] = (), theirs: tuple[str, ...] = (), **changes: Any) -> Gan:
    """Return a GAN after a strategy's start."""
    gan = Gan(shape(family), training(family, **{"steps": steps_of(name), **changes}), classes=len(classes), seed=7)
    start(gan, get_strategy(name), source(family, theirs), classes)
    return gan


def parameters(gan: Gan) -> dict[str, Tensor]:
    named = {f"{name}.{key}": p for name, network in gan.networks.items() for key, p in network.named_parameters()}
    return {key: parameter.detach().clone() for key, parameter in named.items()}


@cache
def trained_whole(family: str, name: str) -> tuple[Gan, tuple[dict[str, Tensor], ...]]:
    """Return a trained GAN, and its parameters at the start, at the end of the first phase and at the end."""
    gan = begun(family, name)
    found = [parameters(gan)]
    for until in (PROBE, steps_of(name)):
        gan.train(PIXELS, None, until)
        found.append(parameters(gan))
    return gan, tuple(found)


def history(family: str, name: str) -> tuple[dict[str, Tensor], ...]:
    return trained_whole(family, name)[1]


def frozen(family: str, name: str, phase: int) -> Iterator[str]:
    """Yield the names of the parameters that are frozen in a phase, written here by hand from the papers."""
    for full in history(family, name)[0]:
        network, _, key = full.partition(".")
        if name in PROBED and phase == 0:
            stays = not (key.startswith(PROBED[name][network]) or "kml_" in key)
        elif name == "lora":
            stays = "lora_" not in key
        elif name == "scale-shift":
            moves = (".scale", ".shift", ".modulation.weight", ".modulation.bias")
            moves += (".strength",) if family in STYLED else ()
            stays = network == "generator" and not key.endswith(moves)
        else:
            stays = key.startswith(FROZEN.get(name, {}).get(family, {}).get(network, ("nothing",))) and "adafm_" not in key
        if stays:
            yield full


#: Strategies that mean the same in every family: which networks are copied, and how they are held.
ALIKE = ("finetune-g", "finetune-d", "l2-sp", "ewc")


def contract(test: Any) -> Any:
    """Run a test for every strategy in every family; in the suite some families and strategies are left to `PAIRS`."""
    cases = [
        (family, name)
        for family in FAMILIES
        for name in NAMES
        if TIMES or not (family in ("fast", "style-bilinear") or (family == "style" and name in ALIKE))
    ]
    return pytest.mark.parametrize(("family", "name"), cases)(test)


PAIRS = pairs(FAMILIES, NAMES)


# -- the contract -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@contract
def test_exactly_the_declared_tensors_are_the_sources_at_first(family: str, name: str):
    gan, theirs = begun(family, name), source(family).tensors
    copied = {"scratch": (), "finetune-g": ("generator",), "finetune-d": ("critic",)}.get(name, ("generator", "critic"))
    for network, module in gan.networks.items():
        kept = FROZEN[name][family][network] if name.startswith(PARTLY_COPIED) else ("",)
        for key, tensor in merged_state(module).items():
            sign = key.endswith("._u") and tensor.numel() == 1  # 1 or -1, so perhaps the same by chance
            if not key.startswith(transfer.ADDED) and not sign:
                equal = torch.equal(tensor, theirs[f"{network}.{key}"])
                assert equal == (network in copied and key.startswith(kept)), f"{network}.{key}"
    if "generator" in copied and not name.startswith(PARTLY_COPIED):
        network, latent = checkpoints.generator(source(family))
        np.testing.assert_array_equal(sample(gan.generator, 8, 4, 0), sample(network, latent, 4, 0))


@pytest.mark.slow
@contract
def test_what_is_frozen_stays_and_what_is_trained_moves(family: str, name: str):
    states = history(family, name)
    for phase, (before, after) in enumerate(zip(states, states[1:], strict=False)):
        stays = set(frozen(family, name, phase))
        still = {key for key in before if torch.equal(before[key], after[key])}
        assert stays <= still
        # The loss is a difference of scores: what adds the same to every score drops out.
        same = {"critic.score.bias", "critic.patch.bias"} | (
            {"critic.blocks.1.conv2.bias", "critic.blocks.1.shortcut.bias"} if family == "resnet" else set()
        )
        if name.startswith("adam"):  # what is trained there are kernels, rather than tensors: see test_methods
            still = {key for key in still if not key.endswith((".original", ".kml_rows", ".kml_columns"))}
            stays = {key for key in stays if not key.endswith(".original")}
        assert still - stays <= same
        assert len(stays) < len(before)


def test_a_strategy_that_leaves_nothing_to_be_trained_says_so():
    class Frozen(Strategy):
        key = "frozen"

        def phases(self, gan: GanConfig) -> tuple[Phase, ...]:
            return (Phase(until=0.5), Phase(critic=NONE))

    gan = Gan(shape("dcgan"), training("dcgan"), classes=0, seed=0)
    gan.follow(Frozen())
    with pytest.raises(UserError, match="strategy 'frozen' trains no parameter of the critic at step 4"):
        gan.train(PIXELS, None, STEPS)


@pytest.mark.slow
@pytest.mark.endurance
@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_resuming_gives_the_same_bits(family: str, name: str):
    whole, _ = trained_whole(family, name)
    for stop in (1, 5) if name in PROBED else (2,):  # within the first phase of those that have two, and beyond it
        first = begun(family, name)
        first.train(PIXELS, None, stop)
        data = checkpoints.save(first, trial(family, name), {}, {}, resumable=True)
        resumed = Gan(shape(family), training(family, steps=steps_of(name)), classes=0, seed=99)
        strategy = get_strategy(name)
        resumed.follow(strategy, None if strategy.penalty is None else Anchors(strategy.penalty.weight))
        checkpoints.resume(resumed, checkpoints.load(data, "here"))
        resumed.train(PIXELS, None, steps_of(name))
        assert whole.average is not None
        assert resumed.average is not None
        pairs = [(whole.generator, resumed.generator), (whole.critic, resumed.critic), (whole.average, resumed.average)]
        for ours, theirs in pairs:
            assert set(ours.state_dict()) == set(theirs.state_dict())
            for key, tensor in ours.state_dict().items():
                assert torch.equal(tensor, theirs.state_dict()[key]), key


@pytest.mark.slow
@pytest.mark.endurance
@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_a_checkpoint_draws_and_can_be_a_source(family: str, name: str):
    gan = begun(family, name, precision="float32")
    gan.train(PIXELS, None, 1)
    for resumable in (True, False):
        written = checkpoints.load(checkpoints.save(gan, trial(family, name), {}, {}, resumable=resumable), "here")
        network, latent = checkpoints.generator(written)
        pair = sample(network, latent, 4, 0).astype(int), sample(gan.evaluated, 8, 4, 0).astype(int)
        # An update is merged into its weight in the checkpoint and applied beside it in training, so rounding differs.
        np.testing.assert_allclose(*pair, rtol=0, atol=1 if name in UPDATED else 0)
        fresh_networks: dict[Network, nn.Module] = {
            "generator": make_generator(shape(family)), "critic": make_critic(shape(family)),
        }  # fmt: skip
        for part, fresh in fresh_networks.items():
            match = transfer.transfer(written, part, fresh, ())
            assert set(match.matched) == set(fresh.state_dict())


@pytest.mark.slow
@pytest.mark.endurance
@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_a_conditional_trial_trains_what_belongs_to_its_classes(family: str, name: str):
    gan = begun(family, name, ("a", "b"), ("b", "x") if family == "sngan" else ())
    before = parameters(gan)
    gan.train(PIXELS, LABELS, PROBE)
    after = parameters(gan)
    heads = [key for key in before if key.startswith("critic.classify.")]
    assert heads
    assert not any(torch.equal(before[key], after[key]) for key in heads)


# -- what is held near the source ---------------------------------------------------------------------------------------

HELD = ["l2-sp[weight=0.7]", "ewc[weight=0.7]"]


@pytest.mark.slow
@pytest.mark.endurance
@pytest.mark.parametrize(("name", "family"), pairs(HELD, FAMILIES if TIMES else ("resnet", "sngan", "dcgan")))
def test_a_penalty_is_the_formula_and_its_gradient_agrees_with_finite_differences(family: str, name: str):
    gan = begun(family, name)
    assert gan.adaptation is not None
    assert gan.adaptation.anchors is not None
    anchors = gan.adaptation.anchors
    torch.manual_seed(1)
    for network_name, network in gan.networks.items():
        network.double()
        for tensors in (anchors.starts, anchors.importances):
            tensors |= {key: value.double() for key, value in tensors.items()}
        for parameter in network.parameters():
            parameter.data += torch.randn_like(parameter)
        information = transfer._fishers(source(family), torch.device("cpu"))
        fishers = {k: v.double() for k, v in information.items() if k.startswith(f"{network_name}.")}
        mean = torch.cat([each.flatten() for each in fishers.values()]).mean()
        expected = 0.0
        for key, parameter in network.named_parameters():
            weight = fishers[f"{network_name}.{key}"] / mean if "ewc" in name else 1.0
            away = parameter.detach() - source(family).tensors[f"{network_name}.{key}"].double()
            expected += float((0.35 * weight * away**2).sum())
        penalty = gan.adaptation.penalty(network_name)
        if "ewc" in name and network_name == "critic":
            assert penalty is None, "the paper holds the generator alone"
            continue
        assert penalty is not None
        assert penalty.item() == pytest.approx(expected, rel=1e-6)
        gradients = torch.autograd.grad(penalty, list(network.parameters()))
        for _ in range(5):
            directions = [torch.randn_like(parameter) for parameter in network.parameters()]
            values = []
            for step in (1e-3, -1e-3):
                for parameter, direction in zip(network.parameters(), directions, strict=True):
                    parameter.data += step * direction
                moved = gan.adaptation.penalty(network_name)
                assert moved is not None
                values.append(moved.item())
                for parameter, direction in zip(network.parameters(), directions, strict=True):
                    parameter.data -= step * direction
            along = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
            assert along == pytest.approx((values[0] - values[1]) / 2e-3, rel=1e-6, abs=1e-9)


def away(family: str, name: str) -> float:
    first, _, last = history(family, name)
    held = [key for key in first if key.startswith("generator." if "ewc" in name else ("generator.", "critic."))]
    return sum(float((last[key] - first[key]).square().sum()) for key in held)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["l2-sp", "ewc"])
def test_a_heavier_penalty_keeps_nearer_to_the_source_and_none_is_finetune(strategy: str):
    assert away("resnet", f"{strategy}[weight=1000]") < 0.7 * away("resnet", f"{strategy}[weight=0]")
    for ours, theirs in zip(history("resnet", f"{strategy}[weight=0]"), history("resnet", "finetune"), strict=True):
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def test_what_starts_afresh_is_not_held_and_ewc_holds_no_critic():
    held = {}
    for name in ("l2-sp", "ewc"):
        gan = begun("resnet", name, ("a", "b"))
        assert gan.adaptation is not None
        assert gan.adaptation.anchors is not None
        held[name] = anchors = gan.adaptation.anchors
    everything = set(parameters(gan))
    assert everything - set(held["l2-sp"].starts) == {"critic.classify.weight", "critic.classify.bias"}
    assert set(anchors.starts) == set(anchors.importances) == {key for key in everything if key.startswith("generator.")}
    assert anchors.starts["generator.norm.scale"].shape == anchors.importances["generator.norm.scale"].shape == (2, 16 // 4)


# -- Fisher information -------------------------------------------------------------------------------------------------


def scored(generator: nn.Module, critic: Critic) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the scores of the samples for the Fisher information, and the inputs of the critic's last layer."""
    random = torch.Generator().manual_seed(derive_seed("fisher", 0))
    features: list[Tensor] = []
    hook = critic.score.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    for _ in range(SAMPLES // BATCH):
        z = torch.randn(BATCH, 8, generator=random).double()
        with torch.no_grad():
            yield critic(generator(z, None))[0], features.pop()
    hook.remove()


@pytest.mark.slow
def test_fisher_information_is_the_mean_square_of_each_samples_gradient():
    """For a linear layer it is E[h^2] for the weights and 1 for the bias; elsewhere it is compared with finite differences."""
    torch.manual_seed(0)
    generator, critic = make_generator(shape("resnet")).double(), make_critic(shape("resnet")).double()
    found = fisher(generator, critic, training("resnet"), 8, 0)
    features = torch.cat([features for _, features in scored(generator, critic)])
    torch.testing.assert_close(found["critic.score.weight"][0], features.square().mean(0))
    torch.testing.assert_close(found["critic.score.bias"], torch.ones(1).double())
    for full in ("critic.blocks.0.norm2.scale", "critic.input.weight", "generator.blocks.0.conv1.weight"):
        network, _, key = full.partition(".")
        entry = {"generator": generator, "critic": critic}[network].get_parameter(key).data.view(-1)
        scores = []
        for step in (1e-6, -1e-6):
            entry[0] += step
            scores.append(torch.cat([scores for scores, _ in scored(generator, critic)]))
            entry[0] -= step
        slopes = (scores[0] - scores[1]) / 2e-6
        assert found[full].view(-1)[0].item() == pytest.approx(slopes.square().mean().item(), rel=1e-3)


@pytest.mark.slow
def test_fisher_information_leaves_the_networks_as_they_were():
    config = shape("sngan").model_copy(update={"batch_norm": "running"})
    gan = Gan(config, training("sngan"), classes=2, seed=0)
    before = copy.deepcopy({name: network.state_dict() for name, network in gan.networks.items()})
    found = fisher(gan.generator, gan.critic, gan.config, 8, 0)
    assert set(found) == set(parameters(gan))
    for name, network in gan.networks.items():
        assert network.training
        assert all(torch.equal(tensor, before[name][key]) for key, tensor in network.state_dict().items())


def test_relative_importance_has_mean_one():
    found = relative({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[0.0], [9.0]])})
    assert torch.cat([each.flatten() for each in found.values()]).tolist() == pytest.approx([1 / 3, 2 / 3, 0, 3])
    assert relative({"a": torch.zeros(3)})["a"].tolist() == [1, 1, 1]


# -- learning rates -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rates"), [
    ("scale-shift", {"generator_lr": 4e-3}), ("lora", {"generator_lr": 4e-3, "critic_lr": 4e-3}),
])  # fmt: skip
def test_a_factor_of_the_learning_rate_is_the_same_as_that_rate(name: str, rates: dict[str, float]):
    fourfold, plain = begun("dcgan", f"{name}[rate=4]"), begun("dcgan", f"{name}[rate=1]", **rates)
    other = begun("dcgan", f"{name}[rate=1]")
    for gan in (fourfold, plain, other):
        gan.train(PIXELS, None, 2)
    ours, theirs, others = map(parameters, (fourfold, plain, other))
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())
    assert not all(torch.equal(tensor, others[key]) for key, tensor in ours.items())


def test_only_strategies_that_train_few_parameters_have_a_factor():
    factors = {name: [kind().rate_factor(network) for network in NETWORKS] for name, kind in STRATEGIES.items()}
    assert [name for name, values in factors.items() if values != [1, 1]] == ["scale-shift", "lora"]
    assert factors["scale-shift"][1] == 1, "its critic is trained whole"


# -- low-rank updates ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_updates_are_of_the_rank_asked_for_and_under_the_spectral_norm(family: str):
    gan = begun(family, "lora[rank=2]")
    before = {name: merged_state(network) for name, network in gan.networks.items()}
    gan.train(PIXELS, None, steps_of("lora[rank=2]"))
    for name, network in gan.networks.items():
        after = merged_state(network)
        moved = {key for key, tensor in after.items() if not torch.equal(tensor, before[name][key]) and key[-3:-1] != "._"}
        updates = [key for key, module in network.named_modules() if isinstance(module, LowRankUpdate)]
        assert len(moved) == len(updates) == sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in network.modules())
        for key in moved:
            change = (after[key] - before[name][key]).flatten(1).double()
            assert int((torch.linalg.svdvals(change) > 1e-6).sum()) <= 2
        for module in network.modules():
            if family == "sngan" and name == "critic" and isinstance(module, nn.Conv2d):
                weight = module.weight.detach().flatten(1)
                assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=0.5)


# -- blocks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("resolution", "depth"), [(8, 1), (16, 1), (32, 2)])
def test_blocks_are_the_networks_own(family: str, resolution: int, depth: int):
    gan = GanConfig.model_validate({"family": family, "resolution": resolution, "depth": depth, "width": 2, "latent": 4})
    for name, network in (("generator", make_generator(gan)), ("critic", make_critic(gan))):
        keys, before = list(network.state_dict()), set[str]()
        for number in range(blocks.count(name, gan) + 1):  # type: ignore[arg-type]
            patterns = blocks.image_side(name, gan, number)  # type: ignore[arg-type]
            found = {key for key in keys if key.startswith(tuple(pattern.removesuffix("*") for pattern in patterns))}
            assert number == 0 or found > before, "a block without tensors"
            before = found
        left = {key.partition(".")[0] for key in set(keys) - before}
        assert left == ({"input"} if name == "generator" else {"score"})


# -- names and options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "name"), [
    ("freeze-d[blocks=1]", "freeze-d"), ("freeze-d[blocks=2]", "freeze-d[blocks=2]"),
    ("freeze-d[ blocks = 2 ]", "freeze-d[blocks=2]"), ("l2-sp[weight=1.0]", "l2-sp"), ("ewc[weight=2e1]", "ewc[weight=20]"),
    ("freeze-d[from=unconditional,blocks=2]", "freeze-d[blocks=2,from=unconditional]"),
])  # fmt: skip
def test_equal_choices_have_equal_names(text: str, name: str):
    assert get_strategy(text).name == name
    assert get_strategy(name) == get_strategy(text)


def test_in_a_cell_what_the_cell_is_anyway_is_not_said_and_the_rest_is():
    strategy = get_strategy("freeze-d[blocks=2,from=unconditional]")
    assert in_cell(strategy, conditional=False) == ("freeze-d[blocks=2]", False)
    assert in_cell(strategy, conditional=True) == ("freeze-d[blocks=2,from=unconditional]", False)


@pytest.mark.parametrize(("text", "said"), [
    ("freeze-d[block=2]", "unknown option 'block'; did you mean blocks"), ("freeze-d[blocks=0]", "1 or more, got '0'"),
    ("freeze-d[blocks=1.5]", "a whole number"), ("freeze-d[blocks=2,blocks=2]", "is given twice"),
    ("freeze-d[]", "is not of the form option=value"), ("freeze-d[blocks=2", "unknown strategy"),
    ("l2-sp[weight=nan]", "a number, 0 or more, got 'nan'"), ("l2-sp[weight=inf]", "got 'inf'"),
    ("mine[share=1.01]", "0 to 1"), ("adam[share=2]", "above 0 and at most 1, got '2'"),
    ("lora[rate=0]", "rate must be a number, above 0, got '0'"),
    ("scale-shift[rate=-1]", "above 0, got '-1'"), ("freeze-low[blocks=1]", "unknown option 'blocks'"),
    ("freeze-low[critic=0]", "1 or more, got '0'"), ("scratch[from=conditional]", "unknown option 'from'"),
])  # fmt: skip
def test_an_option_that_makes_no_sense_is_refused(text: str, said: str):
    with pytest.raises(UserError) as refused:
        get_strategy(text)
    assert said in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_names_its_work_and_is_counted(name: str):
    about = STRATEGIES[name].about()
    assert about.endswith(".") == (len(about) > 0)
    assert name == "scratch" or "20" in about
    found = inventory(get_strategy(name), shape("resnet"))
    last = found["phases"][-1]
    gan = begun("resnet", name)
    gan.train(PIXELS, None, PROBE + 1)
    for network, module in gan.networks.items():
        assert last[network]["parameters"] == sum(p.numel() for p in module.parameters() if p.requires_grad)
        assert found["parameters"][network] == sum(p.numel() for p in module.parameters())
