"""Files of rules: what they mean, and the sentence for each fault."""

from datetime import datetime

import pytest

from loxo.errors import LoxoError
from loxo.live.rules import read_alert_config

SINK = '[sink.log]\ntype = "file"\npath = "alerts.jsonl"\n'


def read(tmp_path, text):
    path = tmp_path / "alerts.toml"
    path.write_text(text)
    return read_alert_config(path)


def test_rule(tmp_path):
    rule = read(
        tmp_path,
        SINK + '[[rule]]\nname = "shots"\nlabels = "gunshot"\nmin_score = 0.8\nhours = "18:30-6"\nsites = ["a"]\n',
    ).rules[0]
    night, day = datetime(2024, 1, 1, 3), datetime(2024, 1, 1, 12)
    assert rule.matches("gunshot", 0.8, "a", night) and rule.matches("gunshot", 0.8, "a", None)
    for other in (("rumble", 0.9, "a", night), ("gunshot", 0.7, "a", night), ("gunshot", 0.9, "b", night)):
        assert not rule.matches(*other)
    assert not rule.matches("gunshot", 0.9, "a", day)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there is no receiver"),
        ("[sink", "not a valid TOML file"),
        ('[sink.a]\ntype = "fax"', "needs a type"),
        ('[sink.a]\ntype = "file"', "needs the key 'path'"),
        (SINK + "[[rule]]\nsinks = ['b']", r"no table \[sink.b\]"),
        (SINK + "[[rule]]\nhours = '6'", "wrong hours"),
        (SINK + "[[rule]]\nhours = '25:70-6'", "wrong time"),
        (SINK + "[[rule]]\nmin_scor = 1", "unknown key 'min_scor'"),
        (SINK + "[[rule]]\nmin_score = 'high'", "wrong value of 'min_score'"),
        (SINK + "[[rule]]\nname='a'\n[[rule]]\nname='a'", "two rules have one name"),
        ('[sink.a]\ntype = "webhook"\nurl = "https://x"\nsecret = "s3cret"', "contains the secret itself"),
        ('[sink.a]\ntype = "webhook"\nurl = "env:LOXO_NOT_SET"', "LOXO_NOT_SET, which is not set"),
    ],
)
def test_faults(tmp_path, text, sentence):
    with pytest.raises(LoxoError, match=sentence) as error:
        read(tmp_path, text)
    assert "alerts.toml" in str(error.value) and "s3cret" not in str(error.value)


def test_secrets(tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    text = f'[sink.a]\ntype = "webhook"\nurl = "env:LOXO_URL"\nsecret = "file:{secret}"'
    monkeypatch.setenv("LOXO_URL", "https://example.org/token")
    secret.chmod(0o644)
    with pytest.raises(LoxoError, match="chmod 600"):
        read(tmp_path, text)
    secret.chmod(0o600)
    sink = read(tmp_path, text).sinks[0]
    assert sink.values["secret"] == "s3cret" and sink.values["url"].endswith("token")
    assert "s3cret" not in repr(sink) and "token" not in repr(sink)
