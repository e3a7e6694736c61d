"""Makes the plan of a sweep file, and the plan of the search that precedes it."""

from typing import TYPE_CHECKING

from bench.store import open_store, store_exists
from trainers.common.errors import within

if TYPE_CHECKING:
    from bench.run.tuning import Search
    from bench.sweeps.plan import Imports, Plan


def plan_of(spec: str, overrides: list[str] | None, store: str, *, plan_only: bool = False) -> "Plan":
    """Return the plan of a sweep file or a preset, after decoding the images of the user's own domains.

    A sweep with `tuning` is planned as if it had none; see `search_of`.

    Args:
        spec: path of the sweep file, or the preset's name.
        overrides: as of `bench.sweeps.spec.load_spec`.
        store: URI of the store, which need not exist.
        plan_only: whether nothing will be run here: absent data sets are then planned by the catalogue, and the embedding's
            weights may be absent.

    Raises:
        UserError: the file or a domain cannot be used; the message names the file and the key.
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
                if name.partition(":")[0] in OWN:  # the number of images is only known once all files were decoded
                    make_ready(domain, loaded.gan.resolution, Console(stderr=True))
        imports = _imports((*loaded.sources, *held_out), store)
        plan = make_plan(loaded, imports, find)
    return share_gpus(plan, open_store(store) if loaded.resources.auto and store_exists(store) else None)


def search_of(plan: "Plan", store: str, *, plan_only: bool = False) -> "Search | None":
    """Return the search that precedes a sweep with `tuning`, or None without it; `plan_only` is that of `plan_of`."""
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
