"""Tests of the AWS pages: commands run, or are compared with the API if they need an account."""

import json
import re
import shlex
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from boxes import assert_ran, run_on_box
from conftest import ROOT
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from doc_pages import read_pages
from registries import BUCKET
from stacks import properties, template, user_data

from slipway.models.manifest import read_manifest

pytest_plugins = ["boxes", "registry_servers"]
PAGE = read_pages("deploy-aws", "aws-box", "aws-manage", "aws-console")
BLOCKS = [
    (kind, textwrap.dedent(text))
    for _, kind, text in re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
]
# Options that the command line has beyond the API.
CLI_OPTIONS = {
    "configure export-credentials": {"format"},
    "cloudformation deploy": {"parameter-overrides"},
}
GLOBAL_OPTIONS = {"query", "output", "region"}


def code_blocks(kind, word):
    return [text for block_kind, text in BLOCKS if block_kind == kind and text.startswith(word)]


def aws_commands():
    """Return all AWS commands of the page, in code blocks and inline."""
    texts = [text.replace("\\\n", " ") for kind, text in BLOCKS if kind in ("", "sh")]
    lines = [line for text in texts for line in text.splitlines()]
    commands = [line[line.index("aws ") :] for line in lines if re.search(r"(^|\()aws ", line)]
    commands += [text.replace("\n", " ") for text in re.findall(r"`(aws [^`]+)`", PAGE)]
    return [shlex.split(line.split(')"')[0]) for line in commands]


def test_aws_page_commands_exist_with_their_options():
    commands = aws_commands()
    assert len(commands) > 7
    for _, service, name, *words in commands:
        operation = f"{service} {name}"
        options = {word[2:] for word in words if word.startswith("--")} - GLOBAL_OPTIONS
        if service == "configure":
            assert options <= CLI_OPTIONS[operation]
            continue
        client = boto3.client(service, region_name="ap-south-1")
        if name == "wait":
            assert words[0].replace("-", "_") in client.waiter_names
            continue
        call = {"deploy": "create-change-set"}.get(name, name).replace("-", "_")
        shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[call])
        known_options = {
            re.sub("(?<=[a-z])(?=[A-Z])", "-", member).lower()
            for member in shape.input_shape.members
        }
        if name == "deploy":
            known_options |= {"template-file", "parameter-overrides"}
        assert options <= known_options, operation


def test_aws_page_lists_every_parameter_and_output_of_the_stack():
    parsed = template()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE, re.MULTILINE)
    named = set(re.findall(r"\w+", " ".join(rows)))
    assert set(parsed["Parameters"]) <= named
    assert {
        "GitHubRoleArn",
        "GitHubDeployRoleArn",
        "Region",
        "EcrLoginUri",
        "Registry",
        "Address",
        "BoxId",
    } <= named
    assert named <= set(parsed["Parameters"]) | set(parsed["Outputs"])
    assert "BucketName" in parsed["Outputs"]
    deploy = next(words for words in aws_commands() if "--parameter-overrides" in words)
    values = deploy[deploy.index("--parameter-overrides") + 1 :]
    for name, value in (pair.split("=") for pair in values):
        pattern = parsed["Parameters"][name].get("AllowedPattern", "true|false")
        assert re.fullmatch(pattern, value)


def test_aws_page_variables_exist_in_the_workflows():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / ".github/workflows").iterdir()]
    used = set(re.findall(r"(?:vars|secrets)\.([A-Z_]+)", "".join(texts)))
    named = set(re.findall(r"^\| `\w+` \| `([A-Z_]+)`", PAGE, re.MULTILINE))
    assert {"AWS_ROLE_ARN", "AWS_DEPLOY_ROLE_ARN", "BOX_ID", "SERVICE_URL"} <= named <= used


def fill_account(value):
    """Return a part of the template with the account of the page."""
    text = json.dumps(value)
    images = "arn:aws:ecr:ap-south-1:123456789012:repository/slipway"
    for name, arn in {"Images": images, "Bucket": "arn:aws:s3:::BUCKET"}.items():
        text = text.replace(f'{{"Fn::GetAtt": ["{name}", "Arn"]}}', f'"{arn}"')
    text = re.sub(r'\{"Fn::Sub": "\$\{Bucket\.Arn\}([^"]*)"\}', r'"arn:aws:s3:::BUCKET\1"', text)
    return json.loads(text)


def test_aws_page_policies_equal_those_of_the_stack():
    delivery, box = [json.loads(text) for kind, text in BLOCKS if kind == "json"]
    assert delivery == fill_account(properties("Delivery")["PolicyDocument"])
    assert box == fill_account(properties("BoxPolicy")["PolicyDocument"])


@pytest.mark.slow
def test_aws_page_first_model_command_pushes_and_promotes(s3_server):
    (block,) = code_blocks("sh", "export SLIPWAY_REGISTRY")
    version = read_manifest(ROOT / "model.pkl").version
    script = block.replace("BUCKET", BUCKET).replace("VERSION", version)
    script = script.replace("flask", f"{sys.executable} -m flask")
    done = subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"{version} pushed\nproduction is {version}\n" in done.stdout


@pytest.mark.slow
def test_aws_page_bucket_command_removes_all_versions_and_the_bucket(s3_server):
    (block,) = code_blocks("sh", "python3 -c")
    s3, name = boto3.client("s3"), "bucket-to-end"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for content in (b"before", b"after"):
        s3.put_object(Bucket=name, Key="models/a", Body=content)
    s3.delete_object(Bucket=name, Key="models/a")
    script = block.replace('"BUCKET"', f'"{name}"').replace("python3", sys.executable)
    subprocess.run(["bash", "-euc", script], check=True)
    assert name not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def write_certificate(folder):
    """Write the files of certbot; return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "late.example.org")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName("late.example.org")])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "privkey.pem").write_bytes(plain)
    return f"{folder}/fullchain.pem {folder}/privkey.pem"


@pytest.mark.slow
@pytest.mark.proxy
def test_aws_page_proxy_serves_https_and_redirects_http(folder):
    (block,) = code_blocks("sh", "sudo tee")
    place = "/etc/letsencrypt/live/late.example.org"
    script = f"""
    sudo() {{ "$@"; }}
    mkdir -p {place}
    cp {write_certificate(folder)} {place}
    {block.replace("systemctl reload nginx", "nginx -s reload")}
    to=(--connect-to ::127.0.0.1: --cacert {place}/fullchain.pem --silent --include)
    for _ in {{1..150}}; do
        plain=$(curl "${{to[@]}}" http://late.example.org/livez?a=1 || true)
        [[ $plain != *" 301 "* ]] || break
        sleep 0.2
    done
    curl "${{to[@]}}" https://late.example.org/livez
    echo "$plain"
    """
    done = run_on_box(folder, user_data(), textwrap.dedent(script))
    assert_ran(done, folder)
    secure, plain = re.split("HTTP/(?=[12])", done.stdout)[1:]
    assert secure.startswith("2 502")
    assert '"code":"unavailable"' in secure
    assert plain.startswith("1.1 301")
    assert "Location: https://late.example.org/livez?a=1" in plain
