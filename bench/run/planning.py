"""Makes the plan of a sweep file, and the plan of the search that precedes it."""

from rich.console import Console

from bench.costs.gpu_share import share_gpus
from bench.images.domains import make_ready
from bench.images.imports import imported
from bench.run.tuning import Search
from bench.store import open_store, store_exists
from bench.sweeps.domain_names import called, useless_names
from bench.sweeps.expansion import Imports, make_plan
from bench.sweeps.loading import load_spec
from bench.sweeps.plan import Plan
from bench.sweeps.spec import SweepSpec
from trainers.common.errors import Problems, within
from trainers.config.sources import IMPORT, domains, renamed
from trainers.domains import OWN, Domain, get
from trainers.domains.absent import get_or_announced


def plan_of(spec: str, overrides: list[str] | None, store: str, console: Console, *, plan_only: bool = False) -> Plan:
    """Return the plan of a sweep file or a preset, after decoding the images of the user's own domains.

    A sweep with `tuning` is planned as if it had none; see `search_of`.

    Args:
        spec, overrides: as `bench.sweeps.loading.load_spec`.
        store: URI of the store, which need not exist.
        console: where the progress of decoding is shown.
        plan_only: whether nothing will be run here: absent data sets are then planned by the catalogue, and the embedding's
            weights may be absent.

    Raises:
        UserError: the file or a domain cannot be used; the message names the file and the key.
    """
    loaded = load_spec(spec, overrides or (), plan_only=plan_only)
    find = get_or_announced if plan_only else get
    places = _places(loaded)
    with within(spec), called(loaded.domains, find):
        problems = Problems()
        found: dict[str, Domain] = {}
        for place, end in places.items():
            for name in domains(end):
                with problems.collected(), within(place):
                    if not name.startswith(IMPORT) and name not in found:
                        found[name] = find(name)
        used = [name for end in places.values() for name in domains(end)]
        problems.lines += useless_names(loaded.domains, used, find)
        problems.check()
        own = [name for name in found if name.partition(":")[0] in OWN]
        for number, name in enumerate(own, 1):  # the number of images is only known once all files were decoded
            label = renamed(name, loaded.labels)
            make_ready(found[name], loaded.gan.resolution, console, label=label, place=(number, len(own)))
        plan = make_plan(loaded, _imports(tuple(places.values()), store), find)
    return share_gpus(plan, open_store(store) if loaded.resources.auto and store_exists(store) else None)


def _places(spec: SweepSpec) -> dict[str, str]:
    """Return the sources, targets and held-out domains of a sweep by the key that names them, such as "targets.0"."""
    lists = {"sources": spec.sources, "targets": spec.targets}
    places = {f"{key}.{i}": end for key, ends in lists.items() for i, end in enumerate(ends)}
    if (tuning := spec.tuning) is not None:
        places |= {"tuning.target": tuning.target, **({} if tuning.source is None else {"tuning.source": tuning.source})}
    return places


def search_of(plan: Plan, store: str, *, plan_only: bool = False) -> Search | None:
    """Return the search that precedes a sweep with `tuning`, or None without it; `plan_only` is that of `plan_of`."""
    tuning = plan.spec.tuning
    if tuning is None:
        return None
    imports = _imports((*plan.spec.sources, *filter(None, [tuning.source])), store)
    return Search.of(plan, imports, get_or_announced if plan_only else get)


def _imports(sources: tuple[str, ...], store: str) -> Imports:
    if any(source.startswith(IMPORT) for source in sources) and store_exists(store):
        return imported(open_store(store))
    return {}
