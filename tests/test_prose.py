"""The language of documents, help texts and messages, by the rules in CONTRIBUTING.md: short sentences, field terms."""

import pytest

from prose import documents, faults, help_texts, length, messages, plain, sentences

# In these, a sentence is as short as on a notice.
MAX_WORDS_README = 20


@pytest.mark.parametrize("texts", [documents, help_texts, messages])
def test_no_long_sentence_and_no_old_word(texts):
    found = faults(texts())
    assert not found, "\n".join(found)


def test_sentences_of_the_readme_have_20_words():
    found = faults(((name, text) for name, text in documents() if name == "README.md"), MAX_WORDS_README)
    assert not found, "\n".join(found)


def test_a_long_sentence_and_an_old_word_are_found():
    long = "One " + "word " * 24 + "more."
    text = f"Short one. {long}\n\n| cell | A run tells its state. |\n\n```sh\nloxo whoever\n```\n"
    found = faults(iter([("page", plain(text))]))
    assert [line.split(": ")[1] for line in found] == ["26 words", "'tells'"]
    assert list(sentences("Half of it is. The rest; is not")) == ["Half of it is.", "The rest;", "is not"]
    assert length("At 1, 2, 3 or 4 Hz") == 3
