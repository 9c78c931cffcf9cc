"""A journal goes to a bucket under retention lock: copied, read back, locked; and a bucket without a lock is refused."""

import os
import pathlib
import subprocess
import sys
import tempfile

import boto3
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

KEEL = sys.argv[1]


def main():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    # credentials of the pretended store, which checks none
    env = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
           "AWS_ENDPOINT_URL": url}
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test",
                      aws_secret_access_key="test")
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    s3.create_bucket(Bucket="plain")

    def keel(*words, fails=False):
        done = subprocess.run([KEEL, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        assert (done.returncode != 0) == fails, (words, done.stdout, done.stderr)
        return (done.stdout + done.stderr).decode()

    with tempfile.TemporaryDirectory() as home:
        journal, key, kept = (pathlib.Path(home) / name for name in ["journal", "key", "anchors"])
        for seed in [1, 2, 3]:  # three runs: at least two sealed segments before the newest
            keel("demo", "--speed", "max", "--seconds", 5, "--seed", seed, "--data-dir", journal)
        public = keel("checkpoint", "--new-key", "keel.example/s3", "--key", key).strip()
        keel("checkpoint", journal, "--key", key, "--anchor", kept)
        kept = ["--anchors", kept, "--key", public]
        said = keel("retain", journal, "--hot-days", 0, "--copy-to", "s3://locked/keel", fails=True)
        assert "a retention lock needs a date" in said, said
        said = keel("retain", journal, "--hot-days", 0, "--copy-to", "s3://plain/keel", "--keep-years", 100, *kept, fails=True)
        assert "was not copied" in said, said
        assert s3.list_objects_v2(Bucket="locked").get("KeyCount") == 0
        keel("retain", journal, "--hot-days", 0, "--copy-to", "s3://locked/keel", "--keep-years", 100, *kept)
        names = [entry["Key"] for entry in s3.list_objects_v2(Bucket="locked")["Contents"]]
        assert "keel/0000000001.keel.zst" in names, names
        for name in names:
            there = s3.get_object(Bucket="locked", Key=name)
            assert there["Body"].read() == (journal / pathlib.Path(name).name).read_bytes()
            assert there["ObjectLockMode"] == "COMPLIANCE" and there["ObjectLockRetainUntilDate"].year >= 2100, there
        said = keel("retain", journal, "--hot-days", 0, "--keep-years", 0, *kept,
                    "--copy-to", "s3://locked/keel")
        assert "0000000001.keel deleted" in said, said
        said = keel("verify", journal)
        assert "were deleted, as retention.log tells" in said and "sound" in said, said
        keel("hold", "add", journal, "CASE-7", "--reason", "the regulator asked", "--by", "alice")
        assert "CASE-7" in keel("hold", "list", journal)
        # the lock holds against its owner while its date lies ahead
        for name in names:
            version = s3.head_object(Bucket="locked", Key=name)["VersionId"]
            try:
                s3.delete_object(Bucket="locked", Key=name, VersionId=version)
                raise AssertionError(f"{name} could be deleted")
            except ClientError as why:
                assert why.response["Error"]["Code"] == "AccessDenied", why
        print(f"{len(names)} segments copied under retention lock, read back, and deleted here; a bucket without a lock refused")
    server.stop()


main()
