import json

import pytest

from loxo import HTSATConfig, LoxoError


def test_geometry_of_the_presets():
    audioset, default = HTSATConfig.preset("audioset"), HTSATConfig.preset("default")
    assert (audioset.image_size, audioset.grids[0], audioset.grids[-1]) == ((256, 256), (64, 64), (8, 8))
    assert (audioset.steps, audioset.step_samples, audioset.features) == (32, 10000, 768)
    assert (default.steps, default.step_samples, default.stride_steps) == (256, 320, 4)  # 0.08 s of 0.32 s
    assert default.output_frames == 1024


@pytest.mark.parametrize("name", HTSATConfig.presets)
def test_a_config_survives_json(name):
    config = HTSATConfig.preset(name)
    assert HTSATConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_model_file_with_the_former_field_names_gives_the_same_config():
    """The fields of the bundled model's own header, as it was written before they were renamed."""
    now = HTSATConfig.preset("default", call_overlap=False)
    former = json.loads(json.dumps(now.to_dict()))
    former["overlap"] = former.pop("call_overlap")
    names = {
        "edge_ratio": "edge",
        "valley_ratio": "split",
        "sustain_weight": "lasting",
        "density_penalty": "crowd",
        "overlap_threshold": "overlap",
    }
    for decoding in former["decoding"].values():
        for name, before in names.items():
            decoding[before] = decoding.pop(name)
    assert former["decoding"]["rumble"]["lasting"] == 0.5 and "edge_ratio" not in former["decoding"]["rumble"]
    assert HTSATConfig.from_dict(former) == now


def test_a_former_field_name_is_no_parameter_of_a_preset():
    with pytest.raises(LoxoError, match="no field 'overlap' in the config of htsat; the nearest is 'call_overlap'"):
        HTSATConfig.preset("default", overlap=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embed_dims": 16}, "no field 'embed_dims' in the config of htsat; the nearest is 'embed_dim'"),
        ({"depths": (2, 2)}, "need as many num_heads"),
        ({"frontend": "ear"}, "frontend: 'ear' is not one of mel, mel-htk, pcen, kaldi, two-resolution"),
        ({"patch": (4, 7)}, "cannot be divided by patch"),
        ({"stem": (4, 8, 16, 32)}, "cannot be halved 4 times"),
        ({"substeps": 2}, "column for each step.*128 steps for 512 frames"),
        ({"stem": ()}, "fine: this head needs a stem.*0 layers"),
        ({"window_samples": 81921}, r"image_frames \(512\) must be window_samples / hop_length"),
        ({"output_frames": 1000}, "output_frames.*multiple of the 256 steps.*Use 1024"),
        ({"clip_pooling": "median"}, "clip_pooling"),
        ({"frontend": "mel"}, "in_chans is 2, but the image of the front end 'mel' has 1 channel.*set in_chans to 1"),
        ({"depths": (2, 0, 3)}, "depths: 0 is too small; the minimum is 1"),
        ({"num_heads": (1, 0, 4)}, "num_heads: 0 is too small"),
        ({"fine": 0}, "set fine above 0, or call_overlap to false"),
        ({"classes": ()}, "at least one class"),
        ({"classes": ("rumble", "gunshot", "rumble")}, "'rumble' twice"),
        (
            {"classes": ("rumble", "rumble overlap")},
            "'rumble overlap' has the name of the overlap output of .* 'rumble'",
        ),
        (
            {"classes": ("rumble overlap", "rumble"), "call_overlap": False},
            "'rumble overlap' has the name of the overlap output",
        ),
    ],
)
def test_a_wrong_field_is_refused_in_one_sentence(changes, words):
    with pytest.raises(LoxoError, match=words):
        HTSATConfig.preset("default", **changes)


def test_an_unknown_preset_names_those_that_exist():
    with pytest.raises(
        LoxoError, match="audioset, clap-base, clap-fused, clap-large, clap-tiny, default, elephants-4k"
    ):
        HTSATConfig.preset("large")
