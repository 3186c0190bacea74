"""A run that is stopped on the way."""

import pytest

from loxo.training.train import train


@pytest.fixture(scope="session")
def interrupt():
    """`interrupt(config, out, after)`: what Ctrl-C after so many steps leaves in `out`."""

    def run(config, out, after):
        def stop(step, steps, figures):
            if step == after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(config, out, on_progress=stop)

    return run
