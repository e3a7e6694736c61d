"""Sets of names of which the first is found fast: in a fixed order, or by the time from which on each is due."""

import heapq
from itertools import count


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


class Due:
    """Names, each due from some time on; of equal times the one added first comes first."""

    def __init__(self) -> None:
        self._number = count()
        self._numbers: dict[str, int] = {}
        self._heap: list[tuple[float, int, str]] = []  # every member, and some former ones

    def add(self, key: str, time: float) -> None:
        """Make a name due from a time on, whether it is a member or not."""
        self._numbers[key] = next(self._number)
        heapq.heappush(self._heap, (time, self._numbers[key], key))

    def discard(self, key: str) -> None:
        """Remove a name, whether it is a member or not."""
        self._numbers.pop(key, None)

    def first(self, time: float) -> str | None:
        """Return the first member that is due at a time, or None."""
        while self._heap and self._numbers.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap and self._heap[0][0] <= time else None
