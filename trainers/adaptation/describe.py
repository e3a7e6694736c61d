"""Description of a strategy on given networks, in words and numbers, computed from the strategy and from new networks."""

from typing import Any

from trainers.adaptation.phases import equip, trained
from trainers.config.blocks import Network
from trainers.config.settings import GanConfig
from trainers.config.strategy import ALL, NETWORKS, KernelUpdate, Penalty, Strategy
from trainers.networks import make_critic, make_generator


def inventory(strategy: Strategy, gan: GanConfig) -> dict[str, Any]:
    """Return what a strategy copies, trains and penalises in unconditional networks.

    Returns:
        "name" and "about"; "options", the meaning of each by name; "copied", by network, in words; "phases", each with the
        share of the steps at which it ends ("until") and, by network, what is "trained" and "frozen", in words, and the number
        of trained "parameters"; "parameters", the total number by network; "rates", the factor of the learning rate by network;
        "penalty" and "adds", in words or None.

    Raises:
        UserError: the strategy does not fit these networks.
    """
    strategy.check(gan)
    networks = {"generator": make_generator(gan), "critic": make_critic(gan)}
    equip(strategy, gan, networks, seed=0)
    sizes = {name: {key: p.numel() for key, p in network.named_parameters()} for name, network in networks.items()}
    return {
        "name": strategy.name,
        "about": strategy.about(),
        "options": {name: f"{option.metadata['about']}{_values(option)}" for name, option in strategy.options().items()},
        "copied": {name: str(strategy.copied(name, gan)) for name in NETWORKS},
        "adds": _additions(strategy, gan),
        "phases": [
            {
                "until": phase.until,
                **{
                    name: {
                        "trained": str(phase.of(name)),
                        "frozen": phase.of(name).rest,
                        "parameters": sum(sizes[name][key] for key in trained(phase, name, networks[name])),
                    }
                    for name in NETWORKS
                },
            }
            for phase in strategy.phases(gan)
        ],
        "parameters": {name: sum(counts.values()) for name, counts in sizes.items()},
        "rates": {name: strategy.rate_factor(name) for name in NETWORKS},
        "penalty": _penalty(strategy),
    }


def lines(inventory: dict[str, Any]) -> list[str]:
    """Return an inventory as lines of text."""
    text = [
        f"{inventory['name']}: {inventory['about']}",
        "  copied   " + ", ".join(f"{name} {inventory['copied'][name]}" for name in NETWORKS),
    ]
    start, totals = 0.0, inventory["parameters"]
    for phase in inventory["phases"]:
        when = "" if len(inventory["phases"]) == 1 else f"{start:.0%} to {phase['until']:.0%} of the steps: "
        counts = {name: f"({phase[name]['parameters']:,} of {totals[name]:,} parameters)" for name in NETWORKS}
        text.append(f"  trained  {when}" + ", ".join(f"{name} {phase[name]['trained']} {counts[name]}" for name in NETWORKS))
        frozen = [f"{name} {phase[name]['frozen']}" for name in NETWORKS if phase[name]["frozen"] != "none"]
        text += [f"  frozen   {when}{', '.join(frozen)}"] if frozen else []
        start = phase["until"]
    rates = [f"{factor:g} times the {name}'s" for name, factor in inventory["rates"].items() if factor != 1]
    text += [f"  rate     {', '.join(rates)}"] if rates else []
    text += [f"  {word:<9}{inventory[key]}" for word, key in (("added", "adds"), ("penalty", "penalty")) if inventory[key]]
    return text + [f"  option   {name}: {about}" for name, about in inventory["options"].items()]


def _additions(strategy: Strategy, gan: GanConfig) -> str | None:
    if strategy.mines:
        return "a miner before the generator (input.miner), initially the identity"
    if strategy.correspondence is not None:
        return "a convolution after the critic's features half-way (patch), which scores patches"
    updates = {name: update for name in NETWORKS if (update := strategy.kernel_update(name, gan)) is not None}
    return "; ".join(dict.fromkeys(_update(update, list(updates)) for update in updates.values())) or None


def _update(update: KernelUpdate, networks: list[Network]) -> str:
    of = "" if len(networks) == len(NETWORKS) else f" of the {networks[0]}"
    where = "every convolution" if update.part == ALL else f"the convolutions in {update.part}"
    if update.kind == "low-rank":
        return f"an update of rank {update.rank} to {where}{of} (lora_*), initially zero"
    if update.kind == "rank-one":
        return f"a modulation of rank one to {where}{of} (kml_*), initially the identity"
    return f"a scale and a shift of each kernel to {where}{of} (adafm_*), initially one and zero"


def _penalty(strategy: Strategy) -> str | None:
    terms = [_distance(strategy.penalty)] if strategy.penalty else []
    if (declared := strategy.correspondence) is not None:
        terms.append(f"{declared.weight:g} * divergence of the similarities between images from the source's")
    if strategy.lecam:
        terms.append(f"{strategy.lecam:g} * LeCam regularisation of the critic's scores")
    return " + ".join(terms) or None


def _distance(penalty: Penalty) -> str:
    importance = "the source's relative Fisher information * " if penalty.fisher else ""
    of = "" if penalty.networks == NETWORKS else f" of the {' and the '.join(penalty.networks)}"
    return f"{penalty.weight:g} / 2 * sum of {importance}(parameter - source)^2 over the copied parameters{of}"


def _values(option: Any) -> str:
    """Return an option's default or the words that it takes, and what a search of settings tries."""
    search, choices = option.metadata["search"], option.metadata["choices"]
    if choices is not None:
        return f" ({' or '.join(choices)})"
    joined = (" to " if isinstance(search, tuple) else ", ").join(f"{value:g}" for value in search or ())
    tried = f"; tuning tries {joined}" if joined else ""
    return "" if option.default is None else f" (default {option.default:g}{tried})"
