"""A set of names in a fixed order, of which the first is found fast."""

import heapq


class Ordered:
    """A set of names with a fast `first`: a heap with lazy deletion. `order` has the position of every possible member."""

    def __init__(self, order: dict[str, int]) -> None:
        self._order = order
        self.members: set[str] = set()
        self._heap: list[tuple[int, str]] = []  # every member, and some former ones

    def keep(self, key: str, wanted: bool) -> None:
        """Make a name a member if it is wanted, else remove it."""
        if not wanted:
            self.members.discard(key)
        elif key not in self.members:
            self.members.add(key)
            heapq.heappush(self._heap, (self._order[key], key))

    def first(self) -> str | None:
        """Return the first member, or None."""
        while self._heap and self._heap[0][1] not in self.members:
            heapq.heappop(self._heap)
        return self._heap[0][1] if self._heap else None
