"""CUDA graphs: a training step recorded once and replayed, so that a small network does not wait for Python.

A whole generator step, its critic steps, double backward, optimisers and random draws included, becomes one launch.
"""

from collections.abc import Callable

import torch

#: Steps taken as usual before the recording: libraries make their choices, optimisers and gradients get their memory.
WARM_UP = 3


class Graphed:
    """Runs a function without arguments as it is `WARM_UP` times, then records it on the GPU, then replays it.

    Every call has the effect of a call of the function, which has to be the same each time: it must touch the same memory, read
    nothing back, and draw random numbers from `random` alone, whose state goes on as if the function had been run.
    """

    def __init__(self, random: torch.Generator) -> None:
        self._random = random
        self._stream = torch.cuda.Stream(random.device)  # type: ignore[no-untyped-call]
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, function: Callable[[], None]) -> None:
        """Run, or record and replay, or replay."""
        self._calls += 1
        if self._calls <= WARM_UP:
            # On the stream that records: gradients are added up on the stream that they were first made on.
            self._stream.wait_stream(torch.cuda.current_stream(self._random.device))
            with torch.cuda.stream(self._stream):
                function()
            torch.cuda.current_stream(self._random.device).wait_stream(self._stream)
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            self._graph.register_generator_state(self._random)
            # Thread-local: Ray's own threads may go on meanwhile.
            with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
                function()
        self._graph.replay()
