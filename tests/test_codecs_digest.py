"""A codec's digest follows from its settings by value, wherever the config has been."""

import pickle

import pytest

from ops.codecs.names import codec_from

SPELLINGS = ["bicubic-x16", "jpeg-q50", "jpeg-q50-x4", "webp-q30", "avif-q40-x2", "jxl-q60"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_config_that_was_sent_to_a_worker_keeps_its_digest(spelling):
    config = codec_from(spelling)
    sent = pickle.loads(pickle.dumps(config))  # defaults come back equal, but as other objects
    assert sent.digest() == config.digest()
    assert sent.settings() == config.settings()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_an_archive_records_gives_the_codec_back(spelling):
    config = codec_from(spelling)
    assert codec_from(config.settings()) == config
    assert "thumbnail" not in config.settings()
