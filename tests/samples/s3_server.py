"""An S3 service on loopback, for tests."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class S3Address(NamedTuple):
    endpoint: str

    @property
    def environ(self) -> dict[str, str]:
        """What its clients need."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def s3_server() -> Iterator[S3Address]:
    """Run moto's server in a thread of this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Address(f"http://{host}:{port}")
    finally:
        server.stop()
