"""Errors of Amazon's services: botocore's own parsers understand them as it does the real ones."""

from __future__ import annotations

import pytest

from chaoskit import faults
from chaoskit.core.errors import UsageError
from chaoskit.core.operation import Trace
from chaoskit.faults.aws import errors

botocore_session = pytest.importorskip("botocore.session")


def client(service):
    """A client that tries once."""
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=2)
    return botocore_session.get_session().create_client(
        service,
        region_name="eu-west-1",
        endpoint_url=f"http://{service}.example",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=config,
    )


CALLS = {
    "s3": lambda one: one.put_object(Bucket="b", Key="k", Body=b"x", IfNoneMatch="*"),
    "dynamodb": lambda one: one.put_item(
        TableName="t", Item={"k": {"S": "v"}}, ConditionExpression="attribute_not_exists(k)"
    ),
    "sts": lambda one: one.get_caller_identity(),
    "ec2": lambda one: one.describe_regions(),
}


def answered(service):
    """Code and status of the error that a call ends with."""
    from botocore.exceptions import ClientError

    try:
        CALLS[service](client(service))
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


@pytest.mark.parametrize("service", CALLS)
def test_every_error_is_understood_with_its_status(talk, peers, service):
    """Whatever the protocol of the service: code and status come out as they were put in."""
    peers.add(f"{service}.example", None, {"/*": 200})
    ran = talk(lambda: answered(service), record=True)
    (request,) = [one for one in ran.trace if one.call == "http"]
    offered = list(faults.http().aws(service).only("aws").offers(request, Trace((request,))))
    known = {one.code: one.status for one in errors(service)}
    assert {str(fault) for fault in offered} == {f"aws[{service}.{code}]" for code in known}
    assert len(offered) >= 3
    for code in list(known)[:4]:
        point = f"http({request.target})#1".replace(" ", "%20")
        struck = talk(lambda: answered(service), f"{point}=aws[{service}.{code}]")
        assert struck.value == (code, known[code]), code
        assert (len(struck.receipts), struck.requests) == (1, ())


def test_what_is_known_of_each_service():
    """S3 slows down by 503, a condition that is lost is 412, and DynamoDB throttles by 400."""
    told = {service: {one.code: one.status for one in errors(service)} for service in CALLS}
    assert told["s3"]["SlowDown"] == 503
    assert told["s3"]["PreconditionFailed"] == 412
    assert told["dynamodb"]["ProvisionedThroughputExceededException"] == 400
    assert told["dynamodb"]["ConditionalCheckFailedException"] == 400
    assert told["ec2"]["RequestLimitExceeded"] == 503


def test_a_condition_is_lost_only_where_one_is_made(talk, peers):
    """A plain write is not offered what only a conditional one can meet."""
    peers.add("s3.example", None, {"/*": 200})
    ran = talk(lambda: client("s3").put_object(Bucket="b", Key="k", Body=b"x") and None, record=True)
    (request,) = [one for one in ran.trace if one.call == "http"]
    offered = map(str, faults.http().aws("s3").only("aws").offers(request, Trace((request,))))
    assert "aws[s3.PreconditionFailed]" not in set(offered)


def test_a_service_that_there_is_not():
    """The message names the value and what would be one."""
    with pytest.raises(UsageError, match=r"'s4'.*'dynamodb'"):
        faults.http().aws("s4")
