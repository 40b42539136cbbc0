import hypothesis
import pytest

from made_music import write_tiny_model
from made_storage import emulated_s3
from stemwise.models.checkpoint import load_model

hypothesis.settings.register_profile("stemwise", deadline=None)  # machines are noisy
hypothesis.settings.load_profile("stemwise")


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
