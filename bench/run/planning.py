"""From a sweep file to a plan."""

from typing import TYPE_CHECKING

from bench.store import open_store, store_exists
from trainers.common.errors import within

if TYPE_CHECKING:
    from bench.run.tuning import Search
    from bench.sweeps.plan import Imports, Plan


def plan_of(spec: str, overrides: list[str] | None, store: str, *, plan_only: bool = False) -> "Plan":
    """Return the plan of a sweep file or a preset, once the images of its own domains are decoded.

    Where it is to be tuned, the plan is that without (see `search_of`). With `plan_only`, data sets that are not here are
    planned by what the catalogue says of them, and the embedding's weights need not be here.
    """
    from rich.console import Console

    from bench.costs.gpu_share import share_gpus
    from bench.images.domains import make_ready
    from bench.sweeps.plan import make_plan
    from bench.sweeps.spec import load_spec
    from trainers.config.sources import IMPORT, domains
    from trainers.domains import OWN, get
    from trainers.domains.absent import get_or_announced

    loaded = load_spec(spec, overrides or (), plan_only=plan_only)
    find = get_or_announced if plan_only else get
    tuning = loaded.tuning
    held_out = (tuning.target, *filter(None, [tuning.source])) if tuning else ()
    with within(spec):
        for key, ends in {"sources": loaded.sources, "targets": loaded.targets, "tuning": held_out}.items():
            for name in dict.fromkeys(name for end in ends for name in domains(end) if not name.startswith(IMPORT)):
                with within(key):
                    domain = find(name)
                if name.partition(":")[0] in OWN:  # how many of its files are images is known once all were decoded
                    make_ready(domain, loaded.gan.resolution, Console(stderr=True))
        imports = _imports((*loaded.sources, *held_out), store)
        made = make_plan(loaded, imports, find)
    return share_gpus(made, open_store(store) if loaded.resources.auto and store_exists(store) else None)


def search_of(plan: "Plan", store: str, *, plan_only: bool = False) -> "Search | None":
    """Return the search that must come before a sweep, or None where its file asks for none; `plan_only` as of `plan_of`."""
    from bench.run.tuning import Search
    from trainers.domains import get
    from trainers.domains.absent import get_or_announced

    tuning = plan.spec.tuning
    if tuning is None:
        return None
    imports = _imports((*plan.spec.sources, *filter(None, [tuning.source])), store)
    return Search.of(plan, imports, get_or_announced if plan_only else get)


def _imports(sources: tuple[str, ...], store: str) -> "Imports":
    from trainers.config.sources import IMPORT

    if not (any(source.startswith(IMPORT) for source in sources) and store_exists(store)):
        return {}
    from bench.images.imports import imported

    return imported(open_store(store))
