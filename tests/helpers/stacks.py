"""The AWS stack: its parsed template, the user data of the box, and a created stack."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import boto3
import cfnlint.decode
from conftest import ROOT

TEMPLATE = ROOT / "deploy" / "aws" / "stack.yaml"
GITHUB = {"GitHubOwner": "ada", "GitHubRepository": "flights"}
ISSUER = "https://token.actions.githubusercontent.com"


def template() -> dict[str, Any]:
    """Parse the template; short forms such as ``!Ref`` become the long ones."""
    parsed, problems = cfnlint.decode.decode(str(TEMPLATE))
    assert not problems
    return dict(json.loads(json.dumps(parsed)))


def resources() -> dict[str, dict[str, Any]]:
    return dict(template()["Resources"])


def properties(name: str) -> dict[str, Any]:
    return dict(resources()[name]["Properties"])


def user_data(**values: str) -> str:
    """Return the user data of the box, with the values of a new stack by default."""
    values = {
        "AWS::Region": "ap-south-1",
        "Bucket": "slipway-bucket-1",
        "Images.RepositoryUri": "123456789012.dkr.ecr.ap-south-1.amazonaws.com/slipway",
        "RunnerVersion": "",
        "RunnerSha256": "",
    } | values
    separator, (head, script) = properties("Box")["UserData"]["Fn::Base64"]["Fn::Join"]
    filled = re.sub(r"\$\{([\w:.]+)\}", lambda match: values[match[1]], head["Fn::Sub"])
    return str(separator.join((filled, script)))


def for_moto() -> str:
    """Return the template without the parts that moto does not support.

    moto supports no launch template for an instance. It ignores resources of unknown types on its
    own: GitHub's provider and the bucket's policy.
    """
    changed = copy.deepcopy(template())
    del changed["Resources"]["Box"]["Properties"]["LaunchTemplate"]
    changed["Resources"]["Box"]["Properties"]["ImageId"] = "ami-12c6146b"
    return json.dumps(changed)


def parameters(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


def outputs(name: str) -> dict[str, str]:
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def make_stack(name: str, **values: str) -> dict[str, str]:
    """Create a stack, wait for it, and return its outputs."""
    client = boto3.client("cloudformation")
    client.create_stack(
        StackName=name,
        TemplateBody=for_moto(),
        Parameters=parameters(values),
        Capabilities=["CAPABILITY_IAM"],
    )
    waiter = client.get_waiter("stack_create_complete")
    waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return outputs(name)
