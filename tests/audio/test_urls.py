"""URLs without their secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loxo.audio import urls
from loxo.audio.urls import hide_secrets, public_url, request_url, without_secrets

SECRET = "hunter2"
PUBLIC = {
    "https://a.org/x.wav?X-Amz-Signature=hunter2&X-Amz-Credential=hunter2": "https://a.org/x.wav",
    "https://a.org/x.wav?sv=2024&sr=b&sig=hunter2": "https://a.org/x.wav",
    "https://a.org/x.wav?Expires=1&Signature=hunter2&Key-Pair-Id=hunter2#t=3": "https://a.org/x.wav",
    "https://a.org/x.wav?X%2DAmz%2DSignature=hunter2": "https://a.org/x.wav",
    "https://a.org/x.wav?hunter2": "https://a.org/x.wav",
    "https://a.org/x.wav#access_token=hunter2": "https://a.org/x.wav",
    "https://a.org/x.wav;jsessionid=hunter2?id=3": "https://a.org/x.wav?id=3",
    "https://a.org/get.wav?id=3&token=hunter2&versionId=7": "https://a.org/get.wav?id=3&versionId=7",
    "https://a.org/get.wav?file=x.wav%3Fsig%3Dhunter2": "https://a.org/get.wav",
    "https://a.org/get.wav?file=x.wav%253Fsig%253Dhunter2": "https://a.org/get.wav",
    "http://user:hunter2@a.org/x.wav": "http://a.org/x.wav",
    "http://hunter2@a.org:8080/x@y.wav": "http://a.org:8080/x@y.wav",
    "http://user:hunter2@b@a.org/x.wav": "http://a.org/x.wav",
    "http://user:hunter2/b@a.org/x.wav": "http://a.org/x.wav",
    "http://user:hunter2?b@a.org/x.wav": "http://a.org/x.wav",
    "http://user:hunter2%40@[::1]:80/x.wav": "http://[::1]:80/x.wav",
    "s3://KEY:hunter2/+@bucket/x.wav": "s3://bucket/x.wav",
    "s3://bucket/x.wav?X-Amz-Security-Token=hunter2": "s3://bucket/x.wav",
    "HTTPS://a.org/x.wav?token=hunter2": "HTTPS://a.org/x.wav",
}


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_url_contains_no_secret(url):
    assert public_url(url) == PUBLIC[url] and public_url(PUBLIC[url]) == PUBLIC[url]
    assert without_secrets(f"cannot open '{url}' now") == f"cannot open '{PUBLIC[url]}' now"


@pytest.mark.parametrize(
    "path",
    [
        *("https://a.org:8080/x@y.wav", "http://[::1]/a@b.wav", "s3://bucket/what?.wav", "s3://bucket/a?b=c@d.wav"),
        *("card/a.wav?token=x", "C:\\a@b.wav", ""),
    ],
)
def test_other_paths_stay_as_they_are(path):
    assert public_url(path) == hide_secrets(path) == request_url(path) == path


@given(st.text("@:/?#=&;a1[]%"))
def test_a_public_url_is_its_own_public_url(rest):
    for scheme in ("http://", "s3://"):
        assert public_url(public_url(scheme + rest)) == public_url(scheme + rest)


def test_requests_use_the_secrets_that_were_given_last(monkeypatch):
    monkeypatch.setattr(urls, "_secret_urls", {})
    monkeypatch.setattr(urls, "_logins", {})
    for signature in ("old", "new"):
        assert hide_secrets(f"https://a.org/x.wav?sig={signature}") == "https://a.org/x.wav"
    assert request_url("https://a.org/x.wav") == "https://a.org/x.wav?sig=new"
    hide_secrets("http://user:word@b.org/folder/")
    assert request_url("http://b.org/folder/x.wav") == "http://user:word@b.org/folder/x.wav"
    assert request_url("http://c.org/folder/x.wav") == "http://c.org/folder/x.wav"
