"""cluster list, show, emit: descriptions of clusters, what a run takes of them, and the files that start them."""

# ruff: noqa: PLC0415  what is slow to import waits until its command runs

from typing import Annotated, Literal, TypeAlias

import typer

from jobs.commands.options import Json, example

app = typer.Typer(no_args_is_help=True, help="Describe clusters, and write the files that start them.")

Name: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="As `regrow cluster list` has it, or a description of your own (.yaml).")
]


@app.command("list", epilog=example("regrow cluster list"))
def list_clusters(json: Json = False) -> int:
    """List the clusters whose descriptions come with regrow, to be run on or copied."""
    from jobs.cluster_words import LISTED, document_for, listed_row
    from jobs.clusters import known_clusters, read_cluster, staged_at
    from jobs.output import write_json, write_table

    found = [read_cluster(name) for name in known_clusters()]
    staged = [[staged_at(one.name, one, nodes) for nodes in ("min", "max")] for one in found]
    if json:
        write_json([document_for(one, *both) for one, both in zip(found, staged, strict=True)])
    else:
        write_table(LISTED, [listed_row(one, both[1]) for one, both in zip(found, staged, strict=True)], (2, 3, 4, 5))
    return 0


@app.command("show", epilog=example("regrow cluster show kuberay"))
def show_cluster(name: Name, json: Json = False) -> int:
    """Show a cluster's groups and price, and what each stage of a run takes of it.

    Refused is what could not run: actors on every CPU, too little memory, no largest number of nodes.
    """
    from jobs.cluster_words import HEADINGS, NUMBERS, document_for, facts_for, group_row
    from jobs.clusters import read_cluster, staged_at
    from jobs.output import write_facts, write_json, write_lines, write_table

    cluster = read_cluster(name)
    least, most = staged_at(name, cluster, "min"), staged_at(name, cluster, "max")
    if json:
        write_json(document_for(cluster, least, most))
        return 0
    write_lines([f"{cluster.name}, on {cluster.provider}"])
    write_table(HEADINGS, [group_row(cluster, group) for group in cluster.groups], NUMBERS)
    write_facts(facts_for(cluster, least, most), indent=0)
    return 0


@app.command("emit", epilog=example("regrow cluster emit kuberay archive.yaml --as ray-job --output run.yaml"))
def emit_cluster(
    name: Name,
    job: Annotated[
        str | None, typer.Argument(metavar="JOB.yaml", help="For ray-job: the job file to run.", show_default=False)
    ] = None,
    *,
    form: Annotated[
        Literal["ray-up", "ray-cluster", "ray-job", "dockerfile"],
        typer.Option(
            "--as", help="A file for `ray up` (AWS), manifests for KubeRay, or a Dockerfile of the nodes' image."
        ),
    ],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", show_default="stdout", help="What to write.")
    ] = None,
) -> int:
    """Write a file that starts a cluster, or a job on one. It holds no token and no credentials."""
    from jobs.clusters import emitted
    from jobs.output import write_lines_as_they_are
    from ops.stores import absolute, open_store

    text = emitted(name, form, job)
    if output is None:
        write_lines_as_they_are(text.splitlines())
    else:
        open_store(absolute(output)).put(absolute(output), text.encode())
    return 0
