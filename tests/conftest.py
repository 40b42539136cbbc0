import sys

import absl.logging
import hypothesis
import pytest

from made_music import write_tiny_model
from made_storage import emulated_s3
from stemwise.models.checkpoint import load_model

hypothesis.settings.register_profile("stemwise", deadline=None)  # machines are noisy
hypothesis.settings.load_profile("stemwise")

# OpenVINO loads absl, whose handler would keep pytest's stderr of that moment, and close it as soon
# as the server configures logging.
absl.logging.get_absl_handler().python_handler.setStream(sys.__stderr__)


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture(scope="session")
def tiny_model(tiny_model_path):
    return load_model(tiny_model_path)


@pytest.fixture(scope="session")
def bucket():
    """The URI of a bucket on an emulated S3."""
    with emulated_s3() as uri:
        yield uri
