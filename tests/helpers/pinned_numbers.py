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
    (0, 40): (1.4013, -7.5629, -4.4728, -11.4960),
    (0, 60): (3.3775, -7.9671, -3.0338, -11.0239),
    (0, 75): (3.1874, -7.6815, -4.1004, -10.7829),
    (0, 112): (-3.9834, -1.0419, -8.8862, -5.1307),
    (0, 114): (-4.3085, 2.1887, -8.7874, -3.5852),
    (0, 160): (2.9199, -7.1802, -3.5245, -11.2056),
    (0, 190): (4.2030, -7.5201, -2.4606, -10.7206),
    (0, 230): (-4.1970, -8.1513, -9.3074, -12.4625),
    (1, 30): (-5.1305, -4.3248, -9.8045, -10.5645),
    (1, 95): (0.8750, -6.6910, -6.3544, -10.7619),
    (1, 115): (3.0652, -6.3615, -4.6563, -9.6920),
    (1, 135): (0.7156, -6.7838, -4.3933, -9.9929),
    (1, 155): (-3.1048, -4.2715, -7.6917, -8.5899),
    (1, 157): (-3.2188, 0.9545, -7.8730, -5.3197),
    (1, 210): (-3.7615, -5.1962, -7.1250, -9.4809),
    (1, 250): (-6.3246, -9.3174, -10.7376, -13.1758),
}
# Logits of the frame scores of the whole recording, at the default overlap between windows: step -> rows.
RECORDING_LOGITS = {
    50: (2.4449, -7.5341, -3.1326, -10.7317),
    92: (-2.2972, -6.6622, -7.3043, -11.6554),
    113: (-4.1984, 2.3363, -8.6993, -4.1210),
    180: (2.9427, -7.7785, -2.4098, -10.9725),
    205: (3.1407, -7.6774, -4.7286, -10.7596),
    256: (-5.7761, 0.1824, -10.2012, -5.3900),
    300: (-4.7304, -7.4437, -9.2263, -11.8816),
    370: (2.9570, -5.3110, -4.7264, -9.1425),
    412: (-3.3073, 0.2175, -7.6696, -5.3342),
    470: (-3.7789, -4.3356, -7.1539, -9.1069),
    511: (-6.0387, -7.0871, -9.5572, -10.8680),
}
# Events at a threshold of 0.3: (start in s, end in s, label, score).
EVENTS = (
    (3.12, 7.28, "rumble", 0.9803),
    (9.04, 9.36, "gunshot", 0.8917),
    (12.72, 16.72, "rumble", 0.9969),
    (20.48, 20.80, "gunshot", 0.8149),
    (28.08, 31.52, "rumble", 0.9339),
    (32.96, 33.28, "gunshot", 0.8675),
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
