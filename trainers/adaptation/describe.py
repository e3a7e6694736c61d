"""What a strategy does to given networks, in words and numbers: read off the strategy itself and off networks made for it."""

from typing import Any

from trainers.adaptation.phases import equip, trained
from trainers.config.settings import GanConfig
from trainers.config.strategy import NETWORKS, Penalty, Strategy
from trainers.networks import make_critic, make_generator


def inventory(strategy: Strategy, gan: GanConfig) -> dict[str, Any]:
    """Return what a strategy copies, trains and holds near the source, of unconditional networks.

    Returns:
        "name" and "about"; "options", what each one means by name; "copied" by network, in words; "phases", each with the
        share of the steps at which it ends ("until") and by network what is "trained" and what is "frozen", in words, and how
        many "parameters" are trained; "parameters" in all by network; "penalty" and "adds", in words or None.

    Raises:
        UserError: the strategy does not fit these networks.
    """
    strategy.check(gan)
    networks = {"generator": make_generator(gan), "critic": make_critic(gan)}
    equip(strategy, networks, seed=0)
    sizes = {name: {key: p.numel() for key, p in network.named_parameters()} for name, network in networks.items()}
    return {
        "name": strategy.name,
        "about": strategy.about(),
        "options": {name: f"{each.metadata['about']}{_default(each.default)}" for name, each in strategy.options().items()},
        "copied": {name: str(strategy.copied(name, gan)) for name in NETWORKS},
        "adds": _added(strategy),
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
        "parameters": {name: sum(own.values()) for name, own in sizes.items()},
        "penalty": _held(strategy.penalty),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """Return an inventory as lines for people."""
    said = [
        f"{found['name']}: {found['about']}",
        "  copied   " + ", ".join(f"{name} {found['copied'][name]}" for name in NETWORKS),
    ]
    began = 0.0
    for phase in found["phases"]:
        when = "" if len(found["phases"]) == 1 else f"{began:.0%} to {phase['until']:.0%} of the steps: "
        counts = {name: f"({phase[name]['parameters']:,} of {found['parameters'][name]:,} parameters)" for name in NETWORKS}
        said.append(f"  trained  {when}" + ", ".join(f"{name} {phase[name]['trained']} {counts[name]}" for name in NETWORKS))
        frozen = [f"{name} {phase[name]['frozen']}" for name in NETWORKS if phase[name]["frozen"] != "none"]
        said += [f"  frozen   {when}{', '.join(frozen)}"] if frozen else []
        began = phase["until"]
    said += [f"  {word:<9}{found[key]}" for word, key in (("added", "adds"), ("held", "penalty")) if found[key]]
    return said + [f"  option   {name}: {about}" for name, about in found["options"].items()]


def _added(strategy: Strategy) -> str | None:
    if strategy.mines:
        return "a miner before the generator (input.miner), the identity at first"
    return (
        f"an update of rank {strategy.update_rank} to every convolution (lora_*), zero at first"
        if strategy.update_rank
        else None
    )


def _held(penalty: Penalty | None) -> str | None:
    if penalty is None:
        return None
    importance = "the source's relative Fisher information * " if penalty.fisher else ""
    return f"{penalty.weight:g} / 2 * sum of {importance}(now - source)^2 over what was copied"


def _default(value: Any) -> str:
    return "" if value is None else f" (default {value:g})"
