"""Ray Tune's searcher as an adapter of the driver: suggests the trials that the driver releases."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from bench.driver.loop import Driver


class PlanSearcher(Searcher):
    """Suggests each trial as soon as the driver releases it.

    It has no state to save: the driver's ledger is rebuilt from the store.
    """

    def __init__(self, driver: Driver, config_of: Callable[[str], dict[str, Any]]) -> None:
        """`config_of` returns the trainable's argument for a trial's key."""
        super().__init__(metric=None, mode=None)
        self._driver = driver
        self._config_of = config_of

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's config, None if none may start yet, or FINISHED if none ever will."""
        key = self._driver.release()
        if key is not None:
            return self._config_of(key)
        return str(Searcher.FINISHED) if self._driver.over else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the scheduler and the callback report ends to the driver."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Accept: the plan needs neither metric nor mode."""
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles its whole experiment, and our state is in the store."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the state is in the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the state is in the store."""
