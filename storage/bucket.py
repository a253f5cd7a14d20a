"""Artifacts in a bucket of S3-compatible storage, through Optuna's own class for it; boto3 is an extra."""

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from optuna.artifacts import Boto3ArtifactStore

from ..errors import StoreError
from .artifacts import S3, Artifacts, Kept, check_id

if TYPE_CHECKING:
    from optuna.artifacts._protocol import ArtifactStore

ATTEMPTS = 10  # of a request, with pauses that grow to 20 seconds


class Bucket(Artifacts):
    """A bucket; credentials, region and endpoint are those that boto3 finds (such as ``AWS_ENDPOINT_URL``).

    An upload is seen by others when it is whole.
    """

    def __init__(self, where: str) -> None:
        bucket, _, prefix = where.removeprefix(S3).partition("/")
        if not re.fullmatch(r"[A-Za-z0-9._-]+", bucket):
            raise StoreError(
                "artifacts in S3 are at s3://BUCKET/PREFIX, without credentials, which boto3 finds in the environment "
                "or in ~/.aws; another place came"
            )
        self.where = where
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._client = _client()
        self.optuna: ArtifactStore = _Prefixed(Boto3ArtifactStore(bucket, self._client), self._prefix)

    def prepare(self) -> None:
        """Nothing has to be made."""

    def write(self, artifact: str, content: bytes) -> None:
        with self.explained(artifact, "written"):
            self.optuna.write(check_id(artifact), io.BytesIO(content))

    def size(self, artifact: str) -> int | None:
        from botocore.exceptions import ClientError

        with self.explained(artifact, "found"):
            try:
                found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + check_id(artifact))
            except ClientError as error:
                if error.response["Error"]["Code"] == "404":
                    return None
                raise
            return int(found["ContentLength"])

    def remove(self, artifact: str) -> None:
        with self.explained(artifact, "removed"):
            self.optuna.remove(check_id(artifact))

    def kept(self) -> Iterator[Kept]:
        with self.explained("", "listed"):
            for one in self._pages("list_objects_v2", "Contents"):
                yield Kept(one["Key"].removeprefix(self._prefix), one["Size"])
            for one in self._pages("list_multipart_uploads", "Uploads"):
                yield Kept(one["Key"].removeprefix(self._prefix), 0, one["UploadId"])

    def remove_kept(self, kept: Kept) -> None:
        with self.explained(kept.name, "removed"):
            key = self._prefix + kept.name
            if kept.part:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=kept.part)
            else:
                self._client.delete_object(Bucket=self._bucket, Key=key)

    def free_bytes(self) -> int | None:
        return None

    def _pages(self, request: str, part: str) -> Iterator[Any]:
        for page in self._client.get_paginator(request).paginate(Bucket=self._bucket, Prefix=self._prefix):
            yield from page.get(part, ())


class _Prefixed:
    """Optuna's store for a bucket, below a prefix."""

    def __init__(self, store: Boto3ArtifactStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    def open_reader(self, artifact_id: str) -> BinaryIO:
        return self._store.open_reader(self._prefix + artifact_id)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self._store.write(self._prefix + artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        self._store.remove(self._prefix + artifact_id)


def _client() -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise StoreError("artifacts in S3 need boto3: pip install 'paretonas[s3]'") from error
    return boto3.client("s3", config=Config(retries={"mode": "standard", "total_max_attempts": ATTEMPTS}))
