"""Numbers of the shipped model on the recording of fixture_sound.py, written down, and checks against them.

A change of the front end, of its constants, of a runtime, of the windows or of the decoding that moves these numbers
is seen here. ONNX Runtime, OpenVINO in float32 and PyTorch agree with each other to 1e-4. If the shipped weights are
replaced on purpose, `PYTHONPATH=tests/helpers python tests/helpers/pinned_numbers.py` prints the new numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from fixture_sound import RATE, fixture_sound
from numpy.typing import NDArray

WINDOW = 81_920  # samples of a window of the shipped model
THRESHOLD = 0.3  # of EVENTS
TOLERANCE = 1e-3  # of pixels, logits and event scores

# Pixels of the front end's image at BANDS: (window, channel, frame) -> values. Channel 0 is prominence, 1 shape.
BANDS = (5, 24, 80, 100, 120)
PIXELS = {
    (0, 0, 25): (-0.3690, -0.4369, -0.4584, -0.7414, -0.4066),
    (0, 0, 125): (2.2626, 1.5276, -0.4640, 0.0720, -0.5059),
    (0, 0, 226): (3.5000, 3.5000, 3.5000, 3.5000, 3.5000),
    (0, 1, 25): (0.1068, 0.0819, 0.0457, -0.0722, 0.0928),
    (0, 1, 125): (1.4227, 1.0642, 0.0429, 0.3345, 0.0432),
    (0, 1, 226): (2.4529, 2.1840, 2.5000, 2.4219, 2.5000),
    (1, 0, 237): (-0.3668, 0.0146, -0.3046, -0.1432, -0.2499),
    (1, 0, 313): (-0.1384, 0.8479, 0.3604, 0.8209, 0.9812),
    (1, 0, 424): (-1.5000, -1.5000, -1.5000, -1.5000, -1.5000),
    (1, 1, 237): (0.0529, 0.2244, 0.0958, 0.2368, 0.2032),
    (1, 1, 313): (0.1670, 0.6411, 0.4283, 0.7188, 0.8187),
    (1, 1, 424): (-2.5000, -2.5000, -2.5000, -2.5000, -2.5000),
}
# Logits of each window alone: (window, step) -> one value for each of config.rows.
LOGITS = {
    (0, 40): (1.4350, -7.0823, -4.4820, -11.0606),
    (0, 60): (3.6433, -8.3764, -3.3272, -11.4713),
    (0, 75): (3.5052, -7.7033, -4.0331, -10.7618),
    (0, 112): (-4.2208, 0.3452, -9.5260, -5.0320),
    (0, 114): (-4.5759, 4.6115, -9.1263, -3.8244),
    (0, 160): (2.9734, -7.5360, -4.1747, -11.3772),
    (0, 190): (4.1146, -7.6163, -3.0878, -10.9222),
    (0, 230): (-4.8272, -8.0382, -9.7454, -12.4601),
    (1, 30): (-5.3596, -6.1307, -9.8163, -11.6008),
    (1, 95): (0.1576, -7.0019, -6.3607, -10.9907),
    (1, 115): (2.5594, -6.2674, -4.6577, -9.7534),
    (1, 135): (0.2691, -7.1060, -4.3548, -9.9974),
    (1, 155): (-3.4935, -3.9090, -8.0482, -8.3069),
    (1, 157): (-3.4315, 0.4493, -8.0286, -5.1061),
    (1, 210): (-3.9257, -5.1790, -7.2851, -9.5563),
    (1, 250): (-6.2243, -9.7261, -10.4703, -13.2684),
}
# Logits of the frame scores of the whole recording, at the default overlap between windows: step -> rows.
RECORDING_LOGITS = {
    50: (2.3243, -7.4787, -3.3761, -10.7273),
    92: (-2.4635, -6.8904, -7.6586, -11.8412),
    113: (-4.5053, 4.5369, -9.2323, -4.4784),
    180: (2.6447, -8.2186, -3.2471, -11.4001),
    205: (3.1546, -7.8668, -4.5902, -10.6141),
    256: (-5.8940, 1.0254, -9.9533, -5.7730),
    300: (-5.0575, -7.7993, -9.3737, -11.9517),
    370: (2.7447, -6.1338, -4.5308, -9.6485),
    412: (-3.5224, 0.3555, -7.9098, -5.2789),
    470: (-3.7399, -4.5069, -7.2331, -9.1473),
    511: (-6.0155, -6.9616, -9.2393, -10.6842),
}
# Events at a threshold of 0.3: (start in s, end in s, label, score).
EVENTS = (
    (3.12, 7.28, "rumble", 0.9825),
    (8.96, 9.52, "gunshot", 0.9799),
    (12.40, 16.72, "rumble", 0.9982),
    (20.48, 20.80, "gunshot", 0.9488),
    (28.16, 31.44, "rumble", 0.8923),
    (32.96, 33.28, "gunshot", 0.9095),
)


def windows() -> NDArray[np.float32]:
    """(2, WINDOW): the first and the last window of the recording."""
    samples = fixture_sound()
    return np.stack((samples[:WINDOW], samples[-WINDOW:]))


def check_images(images: NDArray[Any]) -> None:
    """Images (2 windows, 2 channels, n_mels, frames) of windows()."""
    for (window, channel, frame), expected in PIXELS.items():
        _check(images[window, channel, list(BANDS), frame], expected, f"window {window} channel {channel} {frame=}")


def check_logits(logits: NDArray[Any]) -> None:
    """Logits (2 windows, rows, steps) of windows()."""
    for (window, step), expected in LOGITS.items():
        _check(logits[window, :, step], expected, f"{window=} {step=}")


def check_frame_scores(scores: NDArray[Any]) -> None:
    """Probabilities (rows, steps) of the whole recording."""
    exact = np.asarray(scores, np.float64)
    logits = np.log(exact / (1 - exact))
    assert logits.shape[1] == -(-len(fixture_sound()) // 320)
    for step, expected in RECORDING_LOGITS.items():
        _check(logits[:, step], expected, f"{step=}")


def check_events(events: Any) -> None:
    """The events table of the whole recording at THRESHOLD."""
    found = list(zip(events["start_s"], events["end_s"], events["label"], strict=True))
    assert [(round(start, 6), round(end, 6), label) for start, end, label in found] == [row[:3] for row in EVENTS]
    _check(events["score"].to_numpy(), [row[3] for row in EVENTS], "scores of the events")


def _check(got: NDArray[Any], expected: Any, where: str) -> None:
    np.testing.assert_allclose(got, expected, atol=TOLERANCE, rtol=0, err_msg=where)


def _main() -> None:
    from loxo.detection.detect import detect
    from loxo.detection.scores import frame_scores
    from loxo.engine.engine import load_engine
    from loxo.engine.frontend import FrontEnd

    def show(name: str, rows: dict[Any, Any]) -> None:
        print(f"{name} = {{")
        for key, values in rows.items():
            print(f"    {key}: ({', '.join(f'{value:.4f}' for value in values)}),")
        print("}")

    engine = load_engine("default", runtime="onnxruntime")
    images = FrontEnd(engine.config).images(windows())
    logits = np.concatenate([engine.read(window).outputs([0])[0] for window in windows()])
    scores = frame_scores(engine, [fixture_sound()]).astype(np.float64)
    show("PIXELS", {(k, c, frame): images[k, c, list(BANDS), frame] for k, c, frame in PIXELS})
    show("LOGITS", {(k, step): logits[k, :, step] for k, step in LOGITS})
    show("RECORDING_LOGITS", {step: np.log(scores / (1 - scores))[:, step] for step in RECORDING_LOGITS})
    print("EVENTS = (")
    for event in detect(fixture_sound(), engine, sample_rate=RATE, threshold=THRESHOLD).itertuples():
        print(f'    ({event.start_s:.2f}, {event.end_s:.2f}, "{event.label}", {event.score:.4f}),')
    print(")")


if __name__ == "__main__":
    _main()
