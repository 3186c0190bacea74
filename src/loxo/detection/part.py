"""The result of a shard (loxo.detection.shards), without imports of numerical packages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loxo.audio.channels import Counts

SHARD_MINUTES = 60.0


def _no_counts() -> Counts:
    import numpy as np

    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Part:
    """The result of a shard: sums of weighted logits and of the taper over its steps, from `first_step` on."""

    shard: int
    of: int  # number of shards of the recording
    samples: int  # of the whole recording, as the shard's reader saw it
    first_step: int
    sums: NDArray[np.float64]  # (channels x rows, steps)
    weights: NDArray[np.float64]  # (steps,)
    end: int  # sample up to which the recording is read
    zeroed: bool  # samples that were not finite became silence
    fault: str | None  # why reading ended before the end of the shard, one sentence
    seconds: float  # of the recording that this shard covers
    whole_s: float  # duration of the recording
    channels: Counts = field(default_factory=_no_counts)  # comparison of the mixed channels
    # CRC-32 of the samples of each chunk, in each channel. Only a recording that may still change needs them.
    checks: NDArray[np.int64] = field(default_factory=_no_counts)
