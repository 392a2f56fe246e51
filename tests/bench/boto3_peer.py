"""boto3 as programs use it: ``boto3_peer.py get|put BUCKET PREFIX DIRECTORY``, 8 files at once."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3


def main() -> None:
    """Move a prefix's objects or a directory's files."""
    verb, bucket, prefix, directory = sys.argv[1:]
    client = boto3.client("s3")
    with ThreadPoolExecutor(8) as pool:
        if verb == "get":
            items = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")["Contents"]
            Path(directory).mkdir(exist_ok=True)
            moves = [
                pool.submit(client.download_file, bucket, item["Key"], str(Path(directory, Path(item["Key"]).name)))
                for item in items
            ]
        else:
            moves = [
                pool.submit(client.upload_file, str(file), bucket, f"{prefix}/{file.name}")
                for file in Path(directory).iterdir()
            ]
        for move in moves:
            move.result()


main()
