"""Ray Tune's Searcher that works through a plan: a trial is released once its source is pre-trained."""

import heapq
import time
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from bench.costs.budget import Budget
from bench.driver.ledger import Ledger
from bench.driver.sharing import Sharing


class PlanSearcher(Searcher):
    """Hands Ray Tune the plan's trials in order, each as soon as the ledger says that it may start.

    Its state is the ledger, which is rebuilt from the store; so there is nothing of its own to save.
    """

    def __init__(
        self, ledger: Ledger, sharing: Sharing, budget: Budget, config_of: Callable[[str], dict[str, Any]]
    ) -> None:  # fmt: skip
        """Make one for a ledger.

        Args:
            ledger: what may start.
            sharing: knows what other drivers work on.
            budget: what may be spent.
            config_of: returns what the trainable gets for a trial's key.
        """
        super().__init__(metric=None, mode=None)
        self._ledger = ledger
        self._sharing = sharing
        self._budget = budget
        self._config_of = config_of
        self._again: list[tuple[float, str]] = []

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's config, None when none may start yet, FINISHED when none ever will."""
        self._sharing.look()
        if self._again and self._again[0][0] <= time.monotonic() and self._budget.allows(self._again[0][1]):
            return self._config_of(heapq.heappop(self._again)[1])
        while (key := self._ledger.next_ready()) is not None and self._budget.allows(key):
            if self._sharing.take(key):
                self._ledger.queue(key)
                return self._config_of(key)
        over = self._budget.refused is not None or not self._ledger.is_open()
        return str(Searcher.FINISHED) if over else None

    def repeat(self, key: str, wait: float) -> None:
        """Hand out a trial again, as another of Ray's, after so many seconds."""
        self._ledger.queue(key)
        heapq.heappush(self._again, (time.monotonic() + wait, key))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Ends reach the ledger through the scheduler and the callback, which know more of them."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Accept: the plan needs neither metric nor mode."""
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles its whole experiment, and ours is in the store."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the store is the truth."""
