"""CUDA graphs: a training step is recorded once and replayed, which saves Python's overhead for small networks.

A whole generator step becomes one launch, including its critic steps, double backward, optimisers and random numbers.
"""

from collections.abc import Callable

import torch

#: Steps before the recording, in which libraries choose their algorithms and optimisers and gradients allocate memory.
WARM_UP = 3


class Graphed:
    """Calls a function without arguments `WARM_UP` times, then records it on the GPU, then replays the recording.

    Every call has the effect of calling the function, which must do the same each time: use the same memory, read nothing back
    from the GPU, and draw random numbers only from `random`, whose state advances as if the function had been called.
    """

    def __init__(self, random: torch.Generator) -> None:
        self._random = random
        self._stream = torch.cuda.Stream(random.device)  # type: ignore[no-untyped-call]
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, function: Callable[[], None]) -> None:
        """Call the function, or record and replay it, or replay it."""
        self._calls += 1
        if self._calls <= WARM_UP:
            # On the recording stream, since gradients are accumulated on the stream on which they were first computed.
            self._stream.wait_stream(torch.cuda.current_stream(self._random.device))
            with torch.cuda.stream(self._stream):
                function()
            torch.cuda.current_stream(self._random.device).wait_stream(self._stream)
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            self._graph.register_generator_state(self._random)
            # Thread-local, so that other threads (Ray's) may use CUDA meanwhile.
            with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
                function()
        self._graph.replay()
