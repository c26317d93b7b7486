"""The image that a cluster's nodes run: its name, and a Dockerfile that makes it from a checkout."""

from clusters.description import Cluster
from clusters.versions import Versions, image_mismatch

# What the wheel is built from, and no more: a folder may hold credentials, archives, an environment.
_SOURCES = "pyproject.toml constraints.txt README.md LICENSE regrow.py"
_FOLDERS = ("ops", "clusters", "pipelines", "jobs")
_EXTRAS = "ray,codecs,formats"

_DOCKERFILE = """\
# Nodes of the cluster {cluster}: Ray {ray} on Python {python}, with regrow, torch and the weights of metrics.
# Build it in a checkout of regrow, and push it to where the cluster pulls from:
#   docker build -f Dockerfile -t {image} .
#   docker push {image}
FROM rayproject/ray:{tag}-{kind}

# The user of Ray's images, who is not root.
USER ray
WORKDIR /home/ray
ENV RAY_USAGE_STATS_ENABLED=0

COPY --chown=ray {sources} /tmp/regrow/
{folders}
# Ray is pinned to the version of the image above, which must stay as it is: all nodes and clients have the same.
RUN pip install --no-cache-dir -c /tmp/regrow/constraints.txt 'ray[data,default]=={ray}' '/tmp/regrow[{extras}]' \\
    && rm -rf /tmp/regrow \\
    && python -c "import ray, sys; assert (ray.__version__, '%d.%d' % sys.version_info[:2]) == ('{ray}', '{python}')"

# So that no job waits for a download, and none fails by one.
RUN regrow weights pull --quiet
"""


def image_name(cluster: Cluster, versions: Versions, regrow: str) -> str:
    """Return the image that a cluster's nodes run, versions filled in; for none, the name of one made here.

    Raises ValueError for an image whose tag names other versions than a client's, or that has unknown braces.
    """
    if not cluster.image:
        return f"regrow:{regrow}-ray{versions.tag}"
    try:
        name = cluster.image.format(regrow=regrow, ray=versions.ray, python=versions.python.replace(".", ""))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"image is {cluster.image!r}: in braces there may be {{regrow}}, {{ray}} and {{python}}"
        ) from error  # fmt: skip
    wrong = image_mismatch(name, versions)
    if wrong:
        raise ValueError(wrong)
    return name


def ray_image(cluster: Cluster, versions: Versions) -> str:
    """Return Ray's own image for a cluster: with CUDA where a group has GPUs."""
    return f"rayproject/ray:{versions.tag}-{_kind(cluster)}"


def dockerfile(cluster: Cluster, versions: Versions, regrow: str) -> str:
    """Return the text of a Dockerfile. It holds no secret: tokens and credentials reach nodes when they start."""
    return _DOCKERFILE.format(
        cluster=cluster.name, ray=versions.ray, python=versions.python, tag=versions.tag, kind=_kind(cluster),
        image=image_name(cluster, versions, regrow), sources=_SOURCES, extras=_EXTRAS,
        folders="\n".join(f"COPY --chown=ray {name} /tmp/regrow/{name}" for name in _FOLDERS),
    )  # fmt: skip


def _kind(cluster: Cluster) -> str:
    return "gpu" if any(group.gpus for group in cluster.groups) else "cpu"
