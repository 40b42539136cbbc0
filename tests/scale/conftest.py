"""One cluster of two nodes for all tests here."""

import contextlib
import os
import warnings

import pytest

ray = pytest.importorskip("ray", reason="needs stemwise[scale]")

from ray.cluster_utils import Cluster  # noqa: E402

OBJECT_STORE_BYTES = 150 * 2**20
SETTINGS = {  # patience, as the machine may be busy with other work
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_timeout_ms": "60000",
}


@pytest.fixture(scope="session")
def cluster(bucket):
    """Ray on two nodes of one core each, which know of the storage."""
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    os.environ.update(SETTINGS)
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
    for name in SETTINGS:
        os.environ.pop(name, None)
