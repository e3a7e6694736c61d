"""What a store weighs, and the deletion of networks that are no longer wanted."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from bench.images.generate import best_rungs
from bench.store import FINISHED, Store
from bench.store.trial_files import critics_by_trial, generators_by_trial

#: Rungs whose generators can be kept.
KEPT = ("best", "last")


@dataclass(frozen=True)
class Weight:
    """The files of a folder of a store: how many they are, and their size in bytes."""

    folder: str
    files: int
    size: int


def weigh(store: Store) -> list[Weight]:
    """Return the weight of each folder of a store, the heaviest first; files that no folder has count as "."."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for name, info in store.files(below=True).items():
        sizes[name.partition("/")[0] if "/" in name else "."].append(info.size)
    return sorted((Weight(name, len(of), sum(of)) for name, of in sizes.items()), key=lambda weight: -weight.size)


def prune(store: Store, keep: Collection[str]) -> Weight:
    """Delete the generators of ended trials, except those at their best or last steps, and without "best" their critics.

    `keep` has one or both of `KEPT`; a trial without a finite FID keeps its last. Checkpoints stay, so trials can go on, but
    a rung without its generator cannot be measured in another way any more. Trials that have not ended keep all generators.

    Safe to interrupt and to repeat. Returns what was deleted.
    """
    trials = store.read("trials")
    ended = set(trials.loc[trials["status"].isin(FINISHED), "key"])
    infos = store.files("generators", below=True)
    paths = {key: steps for key, steps in generators_by_trial(infos).items() if key in ended}
    best = best_rungs(store, {key: set(steps) for key, steps in paths.items()})
    deleted = []
    for key, steps in paths.items():
        wanted = {max(steps)} if "last" in keep or key not in best else set()
        if "best" in keep and key in best:
            wanted.add(best[key][0])
        deleted += [path for step, path in steps.items() if step not in wanted]
    if "best" not in keep:
        infos |= (of_critics := store.files("critics", below=True))
        deleted += [path for key, steps in critics_by_trial(of_critics).items() if key in ended for path in steps.values()]
    for path in deleted:
        store.delete_file(path)
    return Weight("generators and critics", len(deleted), sum(infos[path].size for path in deleted))
