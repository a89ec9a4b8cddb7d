"""Blobs in an S3 bucket, or in whatever speaks its language: `s3://bucket/prefix`.

Credentials, region and endpoint come from the usual variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AWS_ENDPOINT_URL, ...) or from the machine's role. An object is written whole or not at all, and writing it again renews its
age. The client tries again by itself while the service has trouble.
Source: https://developmentseed.org/obstore/latest/api/store/aws/
"""

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from amas.artifacts.blobs import Stored
from amas.errors import ArtifactStoreUnusable

TRIES_MAX = 5
TRY_FOR = timedelta(seconds=30)
"""As long as a client waits for an engine that restarts; then the attempt fails and is tried again by its policy."""
LISTED_AT_A_TIME = 1000

_TOLD = re.compile(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>")
"""What the service itself says of an error."""


class S3Blobs:
    """Objects below a prefix."""

    def __init__(self, url: str) -> None:
        try:
            import obstore
        except ModuleNotFoundError as error:
            raise ArtifactStoreUnusable(f"{url} needs the S3 client: pip install 'amas[s3]'") from error
        self.url = url
        self._obstore: Any = obstore
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        with self._usable():
            self._store: Any = obstore.store.S3Store.from_url(
                url.rstrip("/"),
                client_options={"allow_http": endpoint.startswith("http://")},
                retry_config={"max_retries": TRIES_MAX, "retry_timeout": TRY_FOR},
            )

    def write(self, digest: str, blob: bytes, *, media_type: str) -> None:
        """Put an object."""
        with self._usable():
            self._obstore.put(self._store, _name(digest), blob, attributes={"Content-Type": media_type})

    def read(self, digest: str) -> bytes | None:
        """Return an object; None when there is none."""
        with self._usable():
            try:
                return bytes(self._obstore.get(self._store, _name(digest)).bytes())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def list(self) -> Iterator[Stored]:
        """Yield every blob; objects with other names are left alone."""
        with self._usable():
            for page in self._obstore.list(self._store, chunk_size=LISTED_AT_A_TIME):
                for found in page:
                    digest = found["path"].replace("/", "")
                    if len(digest) == 64 and _name(digest) == found["path"]:
                        yield Stored(digest, found["size"], found["last_modified"].timestamp())

    def remove(self, stored: Stored) -> bool:
        """Delete an object unless it was stored anew; S3 knows no condition here, so that is looked up just before."""
        name = _name(stored.digest)
        with self._usable():
            try:
                if self._obstore.head(self._store, name)["last_modified"].timestamp() > stored.stored_s:
                    return False
            except FileNotFoundError:
                return False
            self._obstore.delete(self._store, name)
        return True

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except (self._obstore.exceptions.BaseError, OSError, ValueError) as error:
            told = _TOLD.search(str(error))
            why = ": ".join(told.groups()) if told else str(error).partition("\n")[0]
            raise ArtifactStoreUnusable(f"the artifact store {self.url} can't be used: {why}") from error


def _name(digest: str) -> str:
    return f"{digest[:2]}/{digest[2:]}"
