"""Fixture for interrupted training runs."""

import pytest


@pytest.fixture(scope="session")
def interrupt():
    """`interrupt(config, out, after)` trains in `out` and interrupts the run after `after` iterations."""

    from loxo.training.train import train

    def run(config, out, after):
        def stop(iteration, iterations, figures):
            if iteration == after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(config, out, on_progress=stop)

    return run
