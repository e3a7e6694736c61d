"""Heartbeats: which listener is called, and that long work sends them."""

from contextlib import suppress

import numpy as np

from tests.support import tiny
from trainers.common.heartbeat import beat, heard_by
from trainers.config.settings import GanConfig
from trainers.core.gan import CHECK_EVERY
from trainers.core.sampling import BATCH as SAMPLED
from trainers.core.sampling import sample
from trainers.evaluation.embeddings.builtin import Builtin
from trainers.evaluation.embeddings.loading import load_embedding
from trainers.networks import make_generator
from trainers.trial.run import run


def test_each_listener_is_called_until_its_block_ends():
    heard: list[str] = []
    beat()
    with heard_by(lambda: heard.append("outer")):
        with suppress(ValueError), heard_by(lambda: heard.append("inner")):
            beat()
            raise ValueError
        beat()
    beat()
    assert heard == ["outer", "inner", "outer"]


def test_training_sampling_and_embedding_send_one_per_batch():
    heard: list[None] = []

    def count() -> int:
        number = len(heard)
        heard.clear()
        return number

    with heard_by(lambda: heard.append(None)):
        generator = make_generator(GanConfig(**tiny.SPEC["gan"]), 0)
        sample(generator, tiny.SPEC["gan"]["latent"], 2 * SAMPLED + 1, 0)
        assert count() == 3
        load_embedding("builtin")(np.zeros((Builtin.batch + 1, 8, 8, 3), np.uint8))
        assert count() == 2
        (trial,) = tiny.make(sources=[], strategies=["scratch"], training={"steps": 2 * CHECK_EVERY, "batch": 2}).trials
        rungs = run(trial)
        next(rungs)
        count()
        assert next(rungs).step < CHECK_EVERY
        assert count() >= 1 + trial.evaluation.samples // SAMPLED
