"""Tests of the AWS stack's template: linted, and with the least permissions."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from stacks import TEMPLATE, properties, resources, template, user_data

POLICIES = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::Role", "AWS::IAM::User")
# Actions without resource-level permissions, according to AWS's reference of actions.
WITHOUT_RESOURCE = {"ecr:GetAuthorizationToken", "ssm:GetCommandInvocation"}


def as_list(value):
    return value if isinstance(value, list) else [value]


def statements():
    """Yield every policy statement with the name of its resource."""
    for name, resource in resources().items():
        if resource["Type"] in POLICIES:
            settings = resource.get("Properties", {})
            documents = [settings.get("PolicyDocument")]
            documents += [policy["PolicyDocument"] for policy in settings.get("Policies", ())]
            for document in filter(None, documents):
                for statement in document["Statement"]:
                    yield name, statement


def allowed_actions(name):
    """Return the actions that a resource's policies allow, with their targets."""
    return {
        action: json.dumps(statement["Resource"])
        for owner, statement in statements()
        if owner == name and statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
    }


def test_template_passes_cfn_lint():
    words = [Path(sys.executable).with_name("cfn-lint"), TEMPLATE]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_template_and_user_data_are_within_the_size_limits():
    """A larger template would have to be in a bucket, which does not exist yet."""
    assert TEMPLATE.stat().st_size < 51_200
    assert len(user_data()) < 16_384


def test_policies_name_single_actions():
    all_statements = list(statements())
    assert {name for name, _ in all_statements} == {"Delivery", "RunOnBox", "BoxPolicy"}
    for name, statement in all_statements:
        for action in as_list(statement["Action"]):
            assert re.fullmatch(r"[a-z0-9]+:[A-Za-z]+", action), (name, action)
    assert "FullAccess" not in TEMPLATE.read_text(encoding="utf-8")


def test_policies_name_a_resource_for_every_action_that_supports_one():
    for name, statement in statements():
        if statement["Effect"] == "Allow" and "*" in as_list(statement["Resource"]):
            assert set(as_list(statement["Action"])) <= WITHOUT_RESOURCE, name


def test_box_policy_allows_only_reading_models_and_pulling_images():
    assert set(allowed_actions("BoxPolicy")) == {
        "ecr:GetAuthorizationToken",
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
        "s3:ListBucket",
        "s3:GetObject",
    }
    assert allowed_actions("BoxPolicy")["s3:GetObject"] == '{"Fn::Sub": "${Bucket.Arn}/models/*"}'
    assert "Images" in allowed_actions("BoxPolicy")["ecr:BatchGetImage"]
    (managed,) = properties("BoxRole")["ManagedPolicyArns"]
    assert managed["Fn::Sub"].endswith(":iam::aws:policy/AmazonSSMManagedInstanceCore")
    denied = [statement for _, statement in statements() if statement["Effect"] == "Deny"]
    assert [statement["Action"] for statement in denied] == [
        ["ssm:GetParameter", "ssm:GetParameters"]
    ]


def test_delivery_policy_has_no_deletion_and_no_ec2_or_iam_action():
    actions = set(allowed_actions("Delivery"))
    assert {"ecr:PutImage", "s3:PutObject", "s3:GetObject"} <= actions
    assert not any("Delete" in action or action.startswith(("ec2", "iam")) for action in actions)


def test_deploy_role_policy_allows_only_commands_on_the_box():
    """Otherwise every job on main could be root on the box without an approval."""
    assert properties("RunOnBox")["Roles"] == [{"Ref": "GitHubDeployRole"}]
    assert set(allowed_actions("RunOnBox")) == {"ssm:SendCommand", "ssm:GetCommandInvocation"}
    assert "${Box}" in allowed_actions("RunOnBox")["ssm:SendCommand"]
    attached = properties("Delivery")["Roles"]["Fn::If"]
    assert attached == ["HasGitHub", [{"Ref": "GitHubRole"}], {"Ref": "AWS::NoValue"}]
    assert not {"Policies", "ManagedPolicyArns"} & set(properties("GitHubDeployRole"))


@pytest.mark.parametrize(
    ("role", "subject"),
    [("GitHubRole", "ref:refs/heads/main"), ("GitHubDeployRole", "environment:production")],
)
def test_github_roles_require_audience_and_subject(role, subject):
    document = properties(role)["AssumeRolePolicyDocument"]
    (statement,) = document["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert set(statement["Condition"]) == {"StringEquals"}
    condition = statement["Condition"]["StringEquals"]
    assert condition.pop("token.actions.githubusercontent.com:aud") == "sts.amazonaws.com"
    subjects = [subject_value["Fn::Sub"][0] for subject_value in condition.popitem()[1]]
    assert subjects == [f"repo:${{Whose}}:{subject}"]
    assert not condition


def test_bucket_is_private_encrypted_versioned_retained_and_write_once():
    bucket = resources()["Bucket"]
    settings = bucket["Properties"]
    assert set(settings["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(settings["PublicAccessBlockConfiguration"]) == 4
    assert settings["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = settings["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert settings["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    encrypted, added = properties("BucketPolicy")["PolicyDocument"]["Statement"]
    assert {encrypted["Effect"], added["Effect"]} == {"Deny"}
    assert encrypted["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert added["Resource"] == {"Fn::Sub": "${Bucket.Arn}/models/*"}
    assert added["Condition"]["Null"] == {"s3:if-none-match": "true"}


def test_images_are_immutable_and_scanned():
    settings = properties("Images")
    assert settings["ImageTagMutability"] == "IMMUTABLE"
    assert settings["ImageScanningConfiguration"] == {"ScanOnPush": True}
    text = settings["LifecyclePolicy"]["LifecyclePolicyText"]["Fn::Sub"]
    rules = json.loads(text.replace("${KeepImages}", "10"))["rules"]
    assert [rule["selection"]["tagStatus"] for rule in rules] == ["untagged", "tagged"]
    assert rules[1]["selection"]["countNumber"] == 10


def test_box_security_group_allows_only_http_and_optional_ssh():
    rules = properties("BoxDoors")["SecurityGroupIngress"]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in rules] == [(80, 80), (443, 443)]
    ssh = resources()["BoxSsh"]
    assert ssh["Condition"] == "HasSsh"
    assert ssh["Properties"]["CidrIp"] == {"Ref": "SshFrom"}
    assert template()["Parameters"]["SshFrom"]["Default"] == ""


@pytest.mark.parametrize(
    ("addresses", "is_accepted"),
    [
        ("", True),
        ("203.0.113.7/32", True),
        ("203.0.0.0/16", True),
        ("0.0.0.0/0", False),
        ("10.0.0.0/8", False),
        ("203.0.113.7", False),
        ("0.0.0.0/0\n203.0.113.7/32", False),
    ],
)
def test_ssh_source_open_to_all_is_rejected(addresses, is_accepted):
    pattern = template()["Parameters"]["SshFrom"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, addresses)) is is_accepted


def test_box_has_a_small_encrypted_disk_and_requires_imdsv2():
    settings = properties("Box")
    (disk,) = settings["BlockDeviceMappings"]
    assert disk["Ebs"]["VolumeSize"] == 16
    assert disk["Ebs"]["Encrypted"] is True
    assert disk["DeviceName"] == "/dev/sda1"
    metadata = properties("BoxTemplate")["LaunchTemplateData"]["MetadataOptions"]
    assert metadata["HttpTokens"] == "required"
    assert metadata["HttpPutResponseHopLimit"] == 2
    assert "ImageId" not in settings
    assert template()["Parameters"]["InstanceType"]["Default"] == "t3.small"


def test_template_has_no_secret_parameter_and_no_access_key():
    text = TEMPLATE.read_text(encoding="utf-8")
    assert "AWS::IAM::AccessKey" not in text
    assert not re.search(r"SIGNING_KEY|PASSWORD|RunnerToken", text)


def test_deploy_user_and_role_are_off_by_default():
    assert template()["Parameters"]["CreateDeployUser"]["Default"] == "false"
    assert resources()["DeployUser"] == {"Type": "AWS::IAM::User", "Condition": "MakesUser"}
    assert template()["Parameters"]["RunCommand"]["Default"] == "false"
    assert resources()["RunOnBox"]["Condition"] == "HasRunCommand"
    assert resources()["GitHubDeployRole"]["Condition"] == "HasRunCommand"


def test_box_proxy_configuration_equals_that_of_the_repository():
    """The template must be self-contained, so it has a copy of the file."""
    ours = (ROOT / "deploy" / "nginx" / "slipway.conf").read_text(encoding="utf-8")
    start = "cat >/etc/nginx/conf.d/slipway.conf <<'END'\n"
    assert user_data().split(start)[1].split("\nEND\n")[0] + "\n" == ours
