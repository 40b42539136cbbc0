"""One cluster of two nodes for all tests here; S3 is moto's, on the loopback."""

import contextlib
import logging
import os
import warnings

import pytest

ray = pytest.importorskip("ray", reason="needs stemwise[scale]")

import boto3  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

OBJECT_STORE_BYTES = 150 * 2**20


@pytest.fixture(scope="session")
def cluster(storage):
    """Ray on two nodes of one core each, which know of the storage."""
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    with warnings.catch_warnings():  # Ray starts its processes by a fork
        warnings.simplefilter("ignore")
        cluster = Cluster(initialize_head=True, head_node_args=node)
        del node["include_dashboard"]
        cluster.add_node(**node)
        ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
    yield cluster
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="session")
def storage():
    """The URI of an empty bucket on an S3 that this process emulates."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    boto3.client("s3").create_bucket(Bucket="stemwise")
    yield "s3://stemwise"
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    server.stop()
