"""Tests of the AWS stack: create it on a local AWS API and use its outputs.

``stacks.for_moto`` lists the parts of the template that moto does not support. moto checks policies
and signatures, so it denies the actions that a role does not allow.
"""

import base64
import json
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import ROOT, free_port
from metadata_service import Metadata
from registry_servers import wait_for_port
from stacks import GITHUB, ISSUER, for_moto, make_stack, outputs, parameters, properties, user_data

from slipway.models.manifest import read_manifest

pytestmark = pytest.mark.slow
pytest_plugins = ["metadata_service"]
NAME = "slipway"


@pytest.fixture(scope="module")
def aws():
    """The URL of a local AWS API."""
    port = free_port()
    command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    environ = {
        "AWS_ACCESS_KEY_ID": "root",
        "AWS_SECRET_ACCESS_KEY": "root",
        "AWS_REGION": "ap-south-1",
        "AWS_DEFAULT_REGION": "ap-south-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    try:
        wait_for_port(port, process)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            yield environ["AWS_ENDPOINT_URL"]
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def stack(aws):
    """The outputs of a stack with all optional parts."""
    provider = boto3.client("iam").create_open_id_connect_provider(
        Url=ISSUER, ClientIDList=["sts.amazonaws.com"]
    )
    provider_arn = provider["OpenIDConnectProviderArn"]
    options = {"CreateDeployUser": "true", "RunCommand": "true", "OidcProviderArn": provider_arn}
    return make_stack(NAME, **GITHUB, **options)


@contextmanager
def policies_checked(aws):
    """Make moto enforce policies within the block."""

    def check_after(requests):
        kind = {"Content-Type": "text/plain"}
        address = f"{aws}/moto-api/reset-auth"
        urllib.request.urlopen(urllib.request.Request(address, requests, kind)).close()

    check_after(b"0")
    try:
        yield
    finally:
        check_after(b"inf")


def role_keys(arn):
    """Return keys of a role, as a GitHub job gets them for its token."""
    credentials = boto3.client("sts").assume_role_with_web_identity(
        RoleArn=arn, RoleSessionName="tests", WebIdentityToken="a token of GitHub's"
    )
    return environ_of(credentials["Credentials"])


def user_keys(name):
    return environ_of(boto3.client("iam").create_access_key(UserName=name)["AccessKey"])


def environ_of(keys):
    names = {
        "AWS_ACCESS_KEY_ID": "AccessKeyId",
        "AWS_SECRET_ACCESS_KEY": "SecretAccessKey",
        "AWS_SESSION_TOKEN": "SessionToken",
    }
    return {name: keys[key] for name, key in names.items() if key in keys}


def client(service, keys):
    words = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return boto3.client(service, **{word: keys.get(word.upper()) for word in words})


def flask_model(stack, keys, *words):
    """Run ``flask model`` with some keys; return its exit status and output."""
    environ = {name: value for name, value in os.environ.items() if name not in keys}
    done = subprocess.run(
        [sys.executable, "-m", "flask", "model", *map(str, words)],
        cwd=ROOT,
        env=environ | {"SLIPWAY_REGISTRY": stack["Registry"], "SLIPWAY_WHO": "tests"} | keys,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def is_denied(call, **words):
    with pytest.raises(ClientError) as caught:
        call(**words)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize("user", ["role", "user"])
def test_delivery_keys_push_and_promote_but_cannot_delete(aws, stack, tmp_path, user):
    keys = (
        role_keys(stack["GitHubRoleArn"]) if user == "role" else user_keys(stack["DeployUserName"])
    )
    version = read_manifest(ROOT / "model.pkl").version
    bucket = stack["BucketName"]
    with policies_checked(aws):
        for words in (("push", "--alias", user), ("promote", f"@{user}", "--alias", "production")):
            status, output = flask_model(stack, keys, *words)
            assert status == 0, output
        status, output = flask_model(stack, keys, "pull", "@production", "--output", tmp_path)
        assert (status, output) == (0, f"{tmp_path / version / 'model.pkl'}\n")
        s3 = client("s3", keys)
        key = f"models/versions/{version}/model.pkl"
        assert is_denied(s3.delete_object, Bucket=bucket, Key=key)
        assert is_denied(s3.put_object, Bucket=bucket, Key="elsewhere", Body=b"")
        assert is_denied(client("ec2", keys).describe_instances)
        assert is_denied(client("iam", keys).list_users)
    pulled = (tmp_path / version / "model.pkl").read_bytes()
    assert pulled == (ROOT / "model.pkl").read_bytes()


def test_deploy_role_keys_only_read_commands_of_the_box(aws, stack):
    """Test reading commands; moto cannot check ``SendCommand``, so the template's test does."""
    command = {"InstanceIds": [stack["BoxId"]], "DocumentName": "AWS-RunShellScript"}
    sent = boto3.client("ssm").send_command(**command)["Command"]["CommandId"]
    wanted = {"CommandId": sent, "InstanceId": stack["BoxId"]}
    keys = role_keys(stack["GitHubDeployRoleArn"])
    others = [role_keys(stack["GitHubRoleArn"]), user_keys(stack["DeployUserName"])]
    with policies_checked(aws):
        assert client("ssm", keys).get_command_invocation(**wanted)["CommandId"] == sent
        assert is_denied(client("ecr", keys).get_authorization_token)
        assert is_denied(client("s3", keys).list_objects_v2, Bucket=stack["BucketName"])
        for other in others:
            assert is_denied(client("ssm", other).send_command, **command)
            assert is_denied(client("ssm", other).get_command_invocation, **wanted)


def test_delivery_role_logs_in_to_the_image_registry(aws, stack):
    keys = role_keys(stack["GitHubRoleArn"])
    with policies_checked(aws):
        (login,) = client("ecr", keys).get_authorization_token()["authorizationData"]
    assert base64.b64decode(login["authorizationToken"]).startswith(b"AWS:")
    (repository,) = boto3.client("ecr").describe_repositories()["repositories"]
    place = f"{stack['EcrLoginUri']}/{stack['RepositoryName']}"
    assert repository["repositoryUri"] == place
    assert repository["imageTagMutability"] == "IMMUTABLE"


def test_image_repository_accepts_the_lifecycle_policy_and_rejects_a_duplicate_tag(stack):
    ecr, name = boto3.client("ecr"), stack["RepositoryName"]
    text = properties("Images")["LifecyclePolicy"]["LifecyclePolicyText"]["Fn::Sub"]
    policy = text.replace("${KeepImages}", "10")
    ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=policy)

    def push(layer):
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": {"digest": layer}}
        ecr.put_image(repositoryName=name, imageManifest=json.dumps(manifest), imageTag="0a1b2c3d")

    push("sha256:" + "1" * 64)
    with pytest.raises(ClientError) as caught:
        push("sha256:" + "2" * 64)
    # AWS itself returns ImageTagAlreadyExistsException.
    assert caught.value.response["Error"]["Code"] == "ImageAlreadyExistsException"


def box_keys(stack):
    """Return keys of the role in the box's profile, as its metadata service does."""
    box = boto3.client("ec2").describe_instances(InstanceIds=[stack["BoxId"]])
    profile = box["Reservations"][0]["Instances"][0]["IamInstanceProfile"]["Arn"]
    name = profile.split("/")[-1]
    found = boto3.client("iam").get_instance_profile(InstanceProfileName=name)
    (role,) = found["InstanceProfile"]["Roles"]
    credentials = boto3.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="box")
    return environ_of(credentials["Credentials"])


def test_box_role_reads_models_but_cannot_write(aws, stack, metadata, tmp_path, monkeypatch):
    """Use the settings of the box and the keys of its metadata service."""
    assert flask_model(stack, {}, "push", "--alias", "production")[0] == 0
    Metadata.keys = box_keys(stack)
    for name in Metadata.keys:
        monkeypatch.delenv(name, raising=False)
    settings = {"AWS_METADATA_ENDPOINT": metadata, "SLIPWAY_CACHE": str(tmp_path / "cache")}
    settings |= {"SLIPWAY_MODEL": f"{stack['Registry']}@production"}
    with policies_checked(aws):
        status, output = flask_model(stack, settings, "verify")
        assert status == 0, output
        status, output = flask_model(stack, settings, "promote", "@production", "--alias", "other")
        assert status == 1
        assert "403" in output or "permission" in output, output


def test_box_has_the_user_data_of_the_template(stack):
    ec2 = boto3.client("ec2")
    box = ec2.describe_instances(InstanceIds=[stack["BoxId"]])["Reservations"][0]["Instances"][0]
    assert box["InstanceType"] == "t3.small"
    assert stack["Address"] == f"http://{box['PublicIpAddress']}"
    attribute = ec2.describe_instance_attribute(InstanceId=box["InstanceId"], Attribute="userData")
    script = base64.b64decode(attribute["UserData"]["Value"]).decode()
    image = f"{stack['EcrLoginUri']}/{stack['RepositoryName']}"
    expected = {"Bucket": stack["BucketName"], "Images.RepositoryUri": image}
    assert script == user_data(**expected)


def test_security_group_allows_only_http_and_https(stack):
    groups = boto3.client("ec2").describe_security_groups()["SecurityGroups"]
    (group,) = [group for group in groups if group["Description"].startswith("HTTP")]
    assert [rule["FromPort"] for rule in group["IpPermissions"]] == [80, 443]


SUBJECTS = {"GitHubRoleArn": "ref:refs/heads/main", "GitHubDeployRoleArn": "environment:production"}


def test_roles_trust_main_branch_and_production_of_one_repository(stack):
    for role, subject in SUBJECTS.items():
        assert subjects(stack, role) == [f"repo:ada/flights:{subject}"]


def test_roles_with_repository_ids_trust_only_the_ids(aws):
    ids = {"GitHubOwnerId": "1815", "GitHubRepositoryId": "1843", "OidcProviderArn": arn()}
    new_stack = make_stack(
        "with-ids", **GITHUB, **ids, RunCommand="true", RepositoryName="with-ids"
    )
    for role, subject in SUBJECTS.items():
        assert subjects(new_stack, role) == [f"repo:ada@1815/flights@1843:{subject}"]


def test_stack_without_run_command_has_no_deploy_role(aws):
    new_stack = make_stack("by-runner", **GITHUB, OidcProviderArn=arn(), RepositoryName="by-runner")
    assert "GitHubRoleArn" in new_stack
    assert "GitHubDeployRoleArn" not in new_stack


def arn():
    return f"arn:aws:iam::123456789012:oidc-provider/{ISSUER.removeprefix('https://')}"


def subjects(stack, role):
    name = stack[role].split("/")[-1]
    document = boto3.client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    (statement,) = document["Statement"]
    assert statement["Principal"] == {"Federated": arn()}
    condition = statement["Condition"]["StringEquals"]
    return condition["token.actions.githubusercontent.com:sub"]


def test_stack_without_options_has_no_github_role_and_no_user(aws):
    new_stack = make_stack("plain", RepositoryName="plain")
    assert not {"GitHubRoleArn", "GitHubDeployRoleArn", "DeployUserName"} & set(new_stack)
    iam = boto3.client("iam")
    assert not [user for user in iam.list_users()["Users"] if user["UserName"].startswith("plain")]
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    assert [re.sub("-[^-]+$", "", role) for role in roles if "plain" in role] == ["plain-BoxRole"]


def test_stack_updated_and_deleted_keeps_the_bucket(aws):
    client, name = boto3.client("cloudformation"), "short-lived"
    before = make_stack(name, RepositoryName=name)
    changed = {"RepositoryName": name, "SshFrom": "203.0.113.7/32"}
    client.update_stack(
        StackName=name,
        TemplateBody=for_moto(),
        Parameters=parameters(changed),
        Capabilities=["CAPABILITY_IAM"],
    )
    client.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    after = outputs(name)
    assert after["RepositoryName"] == before["RepositoryName"]
    client.delete_stack(StackName=name)
    client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    remaining = [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]
    assert after["BucketName"] in remaining
    repositories = boto3.client("ecr").describe_repositories()["repositories"]
    assert name not in [repository["repositoryName"] for repository in repositories]
