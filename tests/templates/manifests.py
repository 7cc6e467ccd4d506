"""The manifests, as Kubernetes would get them."""

import shutil
import subprocess

import yaml
from folders import DEPLOY

HAS_KUSTOMIZE = shutil.which("kubectl") is not None or shutil.which("kustomize") is not None


def kustomized(folder):
    """The objects of a folder below deploy/kubernetes."""
    command = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    text = subprocess.run(
        [*command, DEPLOY / "kubernetes" / folder], check=True, capture_output=True, text=True
    ).stdout
    return list(yaml.safe_load_all(text))


def helm(values):
    """The objects of the chart, for the release `beckon`."""
    from helm_python import chart

    with chart.Chart.load(str(DEPLOY / "helm/beckon")) as loaded:
        files = loaded.render(values, name="beckon", namespace="beckon")
    return [
        document
        for text in files.values()
        for document in yaml.safe_load_all(text)
        if document is not None
    ]
