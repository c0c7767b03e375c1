"""The manifests in docker/kubernetes, rendered by kubectl: valid by the schemas of Kubernetes, complete
on a cluster that has nothing yet, and as closed as they say.

    manifests.py FOLDER

Exits 0 when all holds, 1 with a line for each thing that does not, 77 when it can't be tried here.
"""

import base64
import ipaddress
import shutil
import subprocess
import sys

SKIPPED = 77
# The oldest that is not at its end, and the newest that the validator knows.
VERSIONS = ["1.32", "1.35"]
# Instance metadata, and Amazon's time and name servers beside it.
METADATA = ["169.254.169.254", "fd00:ec2::254", "169.254.169.123"]
POD_IDENTITY = ["169.254.170.23", "fd00:ec2::23"]


def rendered(folder):
    command = ["kubectl", "kustomize", folder]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def invalid(documents):
    for document in documents:
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{document['kind']} {name_of(document)}, {version}: {error.message}"


def name_of(document):
    return document["metadata"]["name"]


def one(documents, kind):
    found = [document for document in documents if document["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of kind {kind}"
    return found[0]


def missing(documents):
    """What the pod needs and nothing here makes; made by another name, it would not be there either."""
    there = {(document["kind"], name_of(document)) for document in documents}
    space = name_of(one(documents, "Namespace"))
    for document in documents:
        if document["kind"] != "Namespace" and document["metadata"].get("namespace") != space:
            yield f"{document['kind']} {name_of(document)} is not in namespace {space}"
    pod = one(documents, "Deployment")["spec"]["template"]["spec"]
    wanted = {("ServiceAccount", pod["serviceAccountName"])}
    for volume in pod["volumes"]:
        if "configMap" in volume:
            wanted.add(("ConfigMap", volume["configMap"]["name"]))
        elif "secret" in volume:
            wanted.add(("Secret", volume["secret"]["secretName"]))
        elif "persistentVolumeClaim" in volume:
            wanted.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
        else:
            yield f"volume {volume['name']} ends with its pod"
    yield from (f"there is no {kind} {name}" for kind, name in sorted(wanted - there))
    # A change of their content has to be a rollout.
    for kind, name in sorted(wanted):
        if kind in ("ConfigMap", "Secret") and len(name.rsplit("-", 1)[-1]) != 10:
            yield f"{kind} {name}: its name does not change with its content"


def unmounted(documents):
    """Files that the configuration names and no volume brings."""
    configuration = one_file(documents, "binpulse.toml")
    pod = one(documents, "Deployment")["spec"]["template"]["spec"]
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for line in configuration.splitlines():
        key, separator, value = line.partition(" = ")
        path = value.strip('"')
        if not separator or not path.startswith("/") or key in unused(pod):
            continue
        mounted = next((at for at in mounts if path.startswith(f"{at}/")), None)
        if mounted is None:
            yield f"{key}: nothing is mounted at {path}"
            continue
        volume = volumes[mounts[mounted]["name"]]
        file = path.removeprefix(f"{mounted}/")
        if "persistentVolumeClaim" not in volume and file not in files_of(documents, volume):
            yield f"{key}: {path} is not in volume {volume['name']}"


def unused(pod):
    """Files that the environment makes the configuration not use."""
    halts = {"name": "BINPULSE_SINK_REJECTED", "value": "halt"}
    return {"quarantine"} if halts in pod["containers"][0]["env"] else set()


def files_of(documents, volume):
    name = volume.get("configMap", {}).get("name") or volume.get("secret", {}).get("secretName")
    made = [d for d in documents if d["kind"] in ("ConfigMap", "Secret") and name_of(d) == name]
    return {file for document in made for file in data_of(document)}


def data_of(document):
    return document.get("data", {}) | document.get("stringData", {})


def one_file(documents, name):
    maps = [data_of(document) for document in documents if document["kind"] == "ConfigMap"]
    texts = [files[name] for files in maps if name in files]
    assert len(texts) == 1, f"{len(texts)} of {name}"
    return texts[0]


def short_secrets(documents):
    for document in documents:
        if document["kind"] == "Secret" and "http-token" in document.get("data", {}):
            if len(base64.b64decode(document["data"]["http-token"]).strip()) < 16:
                yield "the token is too short for binpulse"


def lets_out(policy, address, port, protocol="TCP"):
    """Whether a pod under the policy may send there, as the API says it."""
    address = ipaddress.ip_address(address)
    for rule in policy["spec"].get("egress", []):
        ports = rule.get("ports")
        if ports and not any((p["port"], p.get("protocol", "TCP")) == (port, protocol) for p in ports):
            continue
        if "to" not in rule:
            return True
        for peer in rule["to"]:
            block = peer.get("ipBlock")
            if block and is_in(address, block["cidr"]):
                if not any(is_in(address, hole) for hole in block.get("except", [])):
                    return True
    return False


def is_in(address, network):
    network = ipaddress.ip_network(network)
    return address.version == network.version and address in network


def alone(documents):
    """Whether as many replicas run as the settings and the budget for disruptions mean."""
    spec = one(documents, "Deployment")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    stands_by = any(v["name"] == "BINPULSE_HA_ENABLED" and v["value"] == "true" for v in container["env"])
    budget = one(documents, "PodDisruptionBudget")["spec"]
    if spec["replicas"] != (2 if stands_by else 1):
        yield f"{spec['replicas']} replicas, ha.enabled {stands_by}"
    if (spec["strategy"]["type"] == "Recreate") == stands_by:
        yield f"strategy {spec['strategy']['type']}, ha.enabled {stands_by}"
    if budget.get("minAvailable") != (1 if stands_by else None):
        yield f"budget {budget}, ha.enabled {stands_by}"


def open_ways(documents):
    policy = one(documents, "NetworkPolicy")
    deployment = one(documents, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    if not chosen.items() <= labels.items() or "Egress" not in policy["spec"]["policyTypes"]:
        yield "the policy is not about the pod's ways out"
    for address in METADATA:
        for port in (80, 443, 3306, 8080):
            if lets_out(policy, address, port):
                yield f"the way to {address}:{port} is open"
    for address in POD_IDENTITY:
        if not lets_out(policy, address, 80):
            yield f"the agent of pod identity, {address}, can't be asked"
    for address in ("10.1.2.3", "52.94.5.6", "2600:1f18::1"):
        for port in (443, 3306):
            if not lets_out(policy, address, port):
                yield f"{address}:{port} can't be reached"
        if lets_out(policy, address, 80):
            yield f"{address}:80 can be reached, for nothing"
    if not lets_out(policy, "10.96.0.10", 53, "UDP"):
        yield "names can't be resolved"


def main():
    documents = rendered(sys.argv[1])
    checks = [invalid, missing, unmounted, short_secrets, alone, open_ways]
    wrong = [complaint for check in checks for complaint in check(documents)]
    print("\n".join(wrong) or f"{len(documents)} manifests are as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    if shutil.which("kubectl") is None:
        print("there is no kubectl to render them")
        sys.exit(SKIPPED)
    try:
        import kubernetes_validate
        import yaml
    except ImportError as error:
        print(f"{error}: run `make deps`")
        sys.exit(SKIPPED)
    sys.exit(main())
