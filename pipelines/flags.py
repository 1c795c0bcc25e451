"""The flags of `python -m pipelines.ingest`, each with its default."""

import os

from pipelines.fetch.failures import ENOUGH
from pipelines.fetch.settings import FETCHERS, OPTOUTS, USER_AGENT
from pipelines.options import (
    DIRECT_RUNNER,
    EXIT_CODES,
    GATES_HELP,
    Parser,
    accelerator,
    mapping,
    memory,
    pairs,
    positive,
    share,
    size_in_bytes,
)  # fmt: skip
from pipelines.run import RUNNING_MODES
from pipelines.sources.presets import PRESETS
from pipelines.steps.shared_models import SHARING
from quality.images.convert import FORMATS, RESIZES
from quality.scorers import DEFAULT, PACKAGED

STEPS = ("fetch", "score", "select", "shard")

_EXAMPLES = """examples:
  python -m pipelines.ingest --runner DirectRunner
      the packaged sample, offline, into ./pigment-sample
  python -m pipelines.ingest --dataset cats --source 'lists/*.parquet' --columns url=URL,caption=TEXT --contact you@example.org
      a list of urls, fetched politely, into ./cats
  python -m pipelines.ingest --dataset cats --source 'laion2B-en/*.parquet' --preset laion --sample 0.001
      a well-known list, its columns known: laion coyo datacomp cc12m img2dataset
  python -m pipelines.ingest --dataset cats --source my-photos/ --policy my-policy.toml
      a folder of images (metadata.csv, or name.jpg + name.txt)
  python -m pipelines.ingest --dataset cats --source img2dataset-output/
      WebDataset tars, with img2dataset's Parquet files or without: images stay in their tars, nothing is copied
  python -m pipelines.ingest --dataset s3://bucket/cats --source 's3://lists/cats/*.parquet' --preset laion --contact you@example.org
      dataset and source in an object store (infra/STORES.md)
  python -m pipelines.ingest --dataset cats --start_at select --policy strict.toml --what_if
      what another policy would keep, beside the newest release; nothing is written
  python -m pipelines.ingest --dataset cats --start_at select --what_if --policy strict.toml --against commercial
      which pairs change sides between two policies, and why
  python -m pipelines.ingest --dataset cats --start_at select --policy strict.toml
      a new release from stored scores; no network, no model
  python -m pipelines.ingest --dataset cats --source more-cats.parquet --add_source
      more pairs: what is there is neither fetched nor scored again, and shards that stay the same are not written again

The same command continues after Ctrl-C, a crash or a dead network, and ends in the same bytes.

environment:
  PIGMENT_BLOCK_LISTS  folder of block lists (md5 sha1 sha256 pdq urls url_md5 url_sha256 domains, each .txt):
                       quality/block_lists/README.md

"""


def parser() -> Parser:
    """The parser of the main job."""
    p = Parser(
        prog="python -m pipelines.ingest",
        description="Fetch caption-image pairs, score them, decide about each one, and shard what is kept into WebDataset tars.",
        epilog=_EXAMPLES + EXIT_CODES,
    )
    data = p.add_argument_group("data")
    data.add_argument(
        "--dataset",
        metavar="DIR",
        default="pigment-sample",
        help="folder or URL (s3://bucket/x, gs://bucket/x) of the dataset; made if it is not there",
    )
    data.add_argument(
        "--source",
        metavar="PATH",
        help="row file (csv tsv jsonl parquet, also .gz .zst), WebDataset tar, quoted glob, or folder, or a URL of one; default: the packaged sample",
    )
    data.add_argument(
        "--columns",
        metavar="OURS=YOURS",
        type=mapping,
        default=None,
        help="names of your columns, e.g. url=URL,caption=TEXT,license=LICENSE",
    )
    data.add_argument(
        "--preset", choices=sorted(PRESETS), help="columns of a well-known list, or of img2dataset's Parquet files; --columns comes first"
    )
    data.add_argument("--add_source", action="store_true", help="add this source to a dataset that has another one")
    data.add_argument("--unit_size", metavar="ROWS", type=positive, help="rows of a unit (default: 10000 for url lists, 1000 for folders)")
    data.add_argument("--limit", metavar="N", type=positive, help="only the first N rows of each file")
    data.add_argument("--sample", metavar="SHARE", type=share, help="only this share of the rows, chosen by hash")

    fetch = p.add_argument_group("fetch")
    fetch.add_argument(
        "--store",
        choices=("original", "resized"),
        default="original",
        help="keep the bytes as they came, or resized ones: smaller; their metadata, C2PA and watermarks are then read once, while fetching",
    )
    fetch.add_argument(
        "--store_size", metavar="PIXELS", type=positive, default=1024, help="with --store resized: the side that --store_resize bounds"
    )
    fetch.add_argument("--store_resize", choices=RESIZES, default="keep_ratio_largest", help="with --store resized: how")
    fetch.add_argument(
        "--host_map", metavar="FILE", help="JSON of {host: address:port}, for mirrors and tests; alone passes the address guard"
    )
    fetch.add_argument("--allow_private_hosts", action="store_true", help="also connect to private, loopback and link-local addresses")
    fetch.add_argument("--image_timeout", metavar="S", type=float, default=30.0, help="seconds for one image, retries included")
    fetch.add_argument("--connect_timeout", metavar="S", type=float, default=5.0, help="seconds to resolve and connect")
    fetch.add_argument(
        "--unit_timeout", metavar="S", type=float, default=300.0, help="seconds for one unit; what is not done then is postponed"
    )
    fetch.add_argument("--retries", metavar="N", type=int, default=2, help="after 408, 425, 429, 5xx and network errors")
    fetch.add_argument(
        "--max_image_bytes", metavar="SIZE", type=size_in_bytes, default="50MB", help="larger bodies are cut off and refused"
    )
    fetch.add_argument("--connections", metavar="N", type=positive, default=64, help="open requests of one process")
    fetch.add_argument(
        "--connections_per_host", metavar="N", type=positive, default=8, help="open requests to one host, of all workers together"
    )
    fetch.add_argument("--rate_per_host", metavar="R", type=float, help="requests a second to one host, of all workers (default: no bound)")
    fetch.add_argument(
        "--hosts", metavar="FILE", help='TOML of hosts with other limits: [hosts."*.example.org"], connections = 2, rate = 5'
    )
    fetch.add_argument(
        "--fetch_workers",
        metavar="N",
        type=positive,
        help="how many workers fetch and share a host (default: all that a host has connections for)",
    )
    fetch.add_argument("--units_ahead", metavar="N", type=positive, default=8, help="units in flight in one process")
    fetch.add_argument(
        "--contact",
        metavar="ADDRESS",
        help="an e-mail address or url where a site's owner reaches you, sent along; needed to ask other machines",
    )
    fetch.add_argument(
        "--user_agent", metavar="NAME", default=USER_AGENT, help="how requests name themselves, and what robots.txt calls them"
    )
    fetch.add_argument(
        "--optouts",
        choices=OPTOUTS,
        default="obey",
        help="robots.txt, X-Robots-Tag, TDMRep, C2PA, IPTC: what forbids mining is not fetched or stored; or fetched, and left to the policy",
    )
    fetch.add_argument(
        "--fetcher",
        choices=FETCHERS,
        default=FETCHERS[0],
        help="what asks for the images, and converts them with --store resized: pigment's engine, or img2dataset (extra img2dataset; slower)",
    )
    fetch.add_argument("--resolver", metavar="ADDRESS", help="name server to ask in the place of the system's, as in 127.0.0.1:5353")
    fetch.add_argument(
        "--retry_failed",
        action="store_true",
        help="ask again for the pairs of committed units whose failure can pass (time-outs, network errors, 408, 425, 429, 5xx, postponed)",
    )
    fetch.add_argument(
        "--max_failure_rate",
        metavar="SHARE",
        type=share,
        help=f"stop when a worker has asked for {ENOUGH:,} pairs and more than this share of them failed (default: go on)",
    )

    score = p.add_argument_group("score")
    score.add_argument(
        "--scorers",
        metavar="NAMES",
        default=",".join(DEFAULT),
        help=f"of {', '.join(PACKAGED)}, or package.module:Class for your own",
    )
    score.add_argument(
        "--scorer",
        metavar="MODULE:CLASS",
        action="append",
        default=[],
        help="your own scorer, beside those of --scorers; can be given again",
    )
    score.add_argument(
        "--captions",
        metavar="NAME",
        help="with --start_at score: score a version of the captions (python -m pipelines.caption), by those scorers that read captions",
    )
    score.add_argument("--clip_model", metavar="NAME", default="pigment-embedded", help="embedded model, or an open_clip architecture")
    score.add_argument("--clip_checkpoint", metavar="PATH", help="weights of --clip_model: a file, or an open_clip tag")
    score.add_argument("--clip_label", metavar="NAME", help="the weights' name in policies, as in ViT-B-32/NAME (default: tag or file)")
    score.add_argument("--nsfw_head", metavar="FILE", help="LAION's NSFW head (.pth) for OpenAI's ViT-B-32 or ViT-L-14: adds nsfw.clip")
    score.add_argument("--person_names", metavar="FILE", help="names of persons, one a line, looked for in captions; never in any output")
    score.add_argument("--deepfake_probe", metavar="FILE", help="a probe made by python -m quality.probe: weak evidence, at most review")
    score.add_argument(
        "--c2pa_trust",
        metavar="FILE",
        help="PEM of the C2PA trust anchors whose signers the scorer evidence, or fetching with --store resized, trusts (default: nobody)",
    )
    score.add_argument(
        "--engine", metavar="NAME", default="auto", help="inference engine; auto measures once and the pool keeps the answer"
    )
    score.add_argument(
        "--score_accelerator",
        metavar="HINT",
        type=accelerator,
        help="of the machines that score, and of them alone, for runners that read resource hints: "
        "'type:nvidia-tesla-t4;count:1;install-nvidia-driver'",
    )
    score.add_argument("--score_min_ram", metavar="SIZE", type=memory, help="of the machines that score, likewise, as in 16GB")

    score.add_argument(
        "--share_models",
        choices=SHARING,
        default=SHARING[0],
        help="one copy for each machine or GPU, in a process of its own; in each process, with weights that are mapped; or as the engine is best",
    )

    select = p.add_argument_group("select, shard and publish")
    select.add_argument("--policy", metavar="NAME|FILE", default="embedded", help="packaged policy or TOML file")
    select.add_argument(
        "--read_scorer",
        metavar="SCORER:MODEL",
        action="append",
        default=[],
        help="where several scorers gave a column and the policy does not say which it means: this one; once for each scorer's name",
    )
    select.add_argument("--what_if", action="store_true", help="with --start_at select: print the funnel, write nothing")
    select.add_argument("--against", metavar="NAME|FILE", help="with --what_if: another policy; prints who changes sides and why")
    select.add_argument(
        "--reviews",
        metavar="FILE|none",
        help="what people decided, from python -m quality.review (default: reviews/decisions.parquet of the dataset, if it is there)",
    )
    select.add_argument("--release", metavar="NAME", help="name of the release (default: 12 digits of its digest)")
    select.add_argument(
        "--parent",
        metavar="NAME|none",
        help="release whose shards this one goes on with: pairs that are new get shards of their own, and of the others those alone are "
        "written again whose pairs changed (default: the newest of the same policy, target and shard size)",
    )
    select.add_argument("--take_over", action="store_true", help="go on with a release that another run seems to be writing")
    select.add_argument("--allow_missing", action="store_true", help="publish although units were deferred; their rows are counted so")
    select.add_argument("--gates", metavar="FILE.py", action="append", default=[], help=GATES_HELP)
    select.add_argument("--resize_mode", choices=RESIZES, default="keep_ratio_largest", help="how images in shards are resized")
    select.add_argument("--image_size", metavar="PIXELS", type=positive, default=512, help="of images in shards")
    select.add_argument("--image_format", choices=FORMATS, default="jpeg", help="of images in shards")
    select.add_argument("--image_quality", metavar="1-100", type=int, default=95, help="of JPEG and WebP in shards")
    select.add_argument("--shard_bytes", metavar="SIZE", type=size_in_bytes, default="256MB", help="about this much a shard")
    select.add_argument("--shard_count", metavar="N", type=positive, default=10_000, help="at most about this many pairs a shard")

    job = p.add_argument_group("job")
    job.add_argument("--start_at", choices=STEPS, default="fetch", help="first step to run")
    job.add_argument("--stop_after", choices=STEPS, help="last step to run (default: publish)")
    job.add_argument("--plan", action="store_true", help="say units, requests, bytes and time, then stop; nothing is written")
    job.add_argument(
        "--check_job",
        metavar="PAIRS",
        nargs="?",
        type=pairs,
        const=100_000_000,
        help="with --runner DataflowRunner: build the graphs of a job of so many pairs (default: 100 million) with Beam's Dataflow "
        "translation, offline, check them, then stop; nothing is written",
    )
    job.add_argument(
        "--runner",
        metavar="NAME",
        default=DIRECT_RUNNER,
        help="DirectRunner: Beam's in-process FnApiRunner; PrismRunner, SparkRunner, FlinkRunner: on this machine (make runners) unless "
        "Beam's flags name an engine of yours, as --job_endpoint does; others as Beam names them",
    )
    job.add_argument("--running_mode", choices=RUNNING_MODES, default="multi_processing", help="of DirectRunner")
    job.add_argument(
        "--workers",
        metavar="N",
        type=positive,
        default=os.cpu_count() or 1,
        help="processes (or threads) that work, of a runner on this machine",
    )
    job.add_argument("--json", action="store_true", help="the summary as one JSON object on stdout, nothing else there")
    return p
