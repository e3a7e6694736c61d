"""A set that knows its first member, however many there are."""

import heapq
from collections.abc import Iterator


class InOrder:
    """Members of an order, by name."""

    def __init__(self, order: dict[str, int]) -> None:
        """`order` has the place of every name that may become a member."""
        self._order = order
        self._members: set[str] = set()
        self._heap: list[tuple[int, str]] = []  # of the members, and of some that were

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._members, key=self._order.__getitem__))

    def put(self, key: str) -> None:
        """Make a name a member, if it is none."""
        if key not in self._members:
            self._members.add(key)
            heapq.heappush(self._heap, (self._order[key], key))

    def drop(self, key: str) -> None:
        """Make a name no member."""
        self._members.discard(key)

    def keep(self, key: str, wanted: bool) -> None:
        """Make a name a member, or none."""
        self.put(key) if wanted else self.drop(key)

    def first(self) -> str | None:
        """Return the first member, None where there is none."""
        while self._heap and self._heap[0][1] not in self._members:
            heapq.heappop(self._heap)
        return self._heap[0][1] if self._heap else None
