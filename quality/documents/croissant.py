"""croissant.json: the release in Croissant 1.1 (mlcommons.org/croissant/1.1) with the RAI vocabulary 1.0.

Every tar and every index is a FileObject with its SHA-256 and size; what is in the tars are FileSets by suffix. RecordSets:

    images    uid and picture, from the tars
    captions  uid and caption, from the tars
    metadata  uid and all that is known of the pair as JSON, from the tars
    index     every column of the indexes
    pairs     picture, caption and metadata: the tars' images joined with the indexes by the member's name

What mlcroissant 1.1.1 can do has shaped it: it joins two sources a RecordSet, and of them one may be files of an archive. It unpacks a tar below
$CROISSANT_CACHE under a name made of its address alone: for another release, empty that folder or name another.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from quality.documents import text
from quality.documents.about import NOT_STATED
from quality.documents.facts import Facts
from quality.documents.obligations import url_of_license
from quality.kept import Kept

ENCODINGS: Final = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_CONTEXT: Final = {  # appendix 1 of the specification, with the prefixes that mlcroissant writes
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "dct": "http://purl.org/dc/terms/", "annotation": "cr:annotation",
    "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn", "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty", "examples": {"@id": "cr:examples", "@type": "@json"}, "excludes": "cr:excludes",
    "extract": "cr:extract", "field": "cr:field", "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isArray": "cr:isArray", "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path",
    "readLines": "cr:readLines", "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex",
    "repeated": "cr:repeated", "replace": "cr:replace", "samplingRate": "cr:samplingRate", "sdVersion": "cr:sdVersion",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
    "unArchive": "cr:unArchive", "value": "cr:value",
}  # fmt: skip
INDEXES: Final = "indexes/"
_SHARDS: Final = "shards/"
_UID: Final = "^([0-9a-f]{32})"  # what a member's name begins with


def croissant(facts: Facts) -> str:
    """The document as JSON, which names the files of indexes_here too. Reads every index's bytes, for their digests."""
    about = facts.about
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": facts.name,
        "description": about.get(
            "description", f"{facts.pairs:,} pictures with captions, selected by policy {facts.manifest['policy']['name']}.{_origin(facts)}"
        ),
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "license": [about["license"]] if "license" in about else _licenses(facts),
        "url": about.said("url"),
        "creator": {"@type": "sc:Organization", "name": about.said("creator")},
        "version": about.get("version", facts.manifest["digest"][:12]),
        "citeAs": about.said("citation"),
        **({"datePublished": about["published"]} if "published" in about else {}),
        **({"keywords": about["keywords"].split(", ")} if "keywords" in about else {}),
        "inLanguage": [word for word, _ in text.languages(facts)],
        "isLiveDataset": False,
        **_responsible(facts),
        "distribution": _distribution(facts.kept, facts),
        "recordSet": _record_sets(facts),
    }
    return json.dumps({key: value for key, value in document.items() if value != []}, ensure_ascii=False, indent=1) + "\n"


def _licenses(facts: Facts) -> list[str]:
    found = [url_of_license(terms.spdx) or terms.spdx for terms in facts.terms]
    return list(dict.fromkeys(found)) or [NOT_STATED]


def _distribution(kept: Kept, facts: Facts) -> list[dict[str, Any]]:
    objects, tars, folders = [], [], set[str]()
    for shard in kept.shards:
        number = f"{shard['shard']:06d}"
        tars.append({"@id": f"tar-{number}"})
        folders.add(_SHARDS if shard["path"].startswith(_SHARDS) else INDEXES)
        objects.append(_object(f"tar-{number}", shard["path"], "application/x-tar", shard["bytes"], shard["sha256"]))
        if shard["path"].startswith(_SHARDS):
            path = f"{shard['path'].removesuffix('tar')}parquet"
            digest, size = _digest(kept, kept.path_of(shard, "parquet"))
        else:
            path, data = index_here(kept, shard)
            digest, size = hashlib.sha256(data).hexdigest(), len(data)
        objects.append(_object(f"index-{number}", path, "application/x-parquet", size, digest))
    if not tars:
        return []
    suffixes = sorted(facts.suffixes)
    sets = [
        ("caption-files", tars, "text/plain", "*.txt"),
        ("metadata-files", tars, "application/json", "*.json"),
        # Last of the tars' sets: of several mlcroissant can join the last alone.
        ("image-files", tars, [ENCODINGS[suffix] for suffix in suffixes], [f"*.{suffix}" for suffix in suffixes]),
        ("index-files", [], "application/x-parquet", [f"{folder}*.parquet" for folder in sorted(folders)]),
    ]
    return objects + [
        {
            "@type": "cr:FileSet", "@id": name, "name": name, **({"containedIn": within} if within else {}), "encodingFormat": encoding,
            "includes": includes,
        }
        for name, within, encoding, includes in sets
        if includes
    ]  # fmt: skip


def indexes_here(facts: Facts) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of what stands in this release for the indexes of shards that an earlier one has: mlcroissant reads Parquet files of a set
    by patterns below the document alone."""
    return (index_here(facts.kept, shard) for shard in facts.kept.shards if not shard["path"].startswith(_SHARDS))


def index_here(kept: Kept, shard: Mapping[str, Any]) -> tuple[str, bytes]:
    """The index of one such shard, without pairs that are on a block list now."""
    table, free = kept.read(shard)
    out = io.BytesIO()
    pq.write_table(table if free.all() else table.filter(pa.array(free)), out, compression="zstd")
    return f"{INDEXES}{shard['shard']:06d}.parquet", out.getvalue()


def _object(name: str, path: str, encoding: str, size: int, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject", "@id": name, "name": path.rpartition("/")[2], "contentUrl": path, "contentSize": f"{size} B",
        "encodingFormat": encoding, "sha256": sha256,
    }  # fmt: skip


def _digest(kept: Kept, path: str) -> tuple[str, int]:
    with kept.pool.store.open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def _origin(facts: Facts) -> str:
    """Of captions that are not the sources'."""
    return f" {text.captions(facts)}" if "captions" in facts.manifest else ""


def _record_sets(facts: Facts) -> list[dict[str, Any]]:
    if not facts.suffixes:
        return []
    sets = {
        name: [
            _field(f"{name}/uid", "sc:Text", {**_file(files, "filename"), "transform": {"regex": _UID}}, "identity of the pair"),
            _field(f"{name}/{name.removesuffix('s')}", type_, _file(files, "content"), meaning),
        ]
        for name, files, type_, meaning in (
            ("images", "image-files", "sc:ImageObject", "the picture"),
            ("captions", "caption-files", "sc:Text", _meaning(facts.schema, "caption")),
            ("metadata", "metadata-files", "sc:Text", "all that is known of the pair, as JSON"),
        )
    }
    columns = [(column.name, type_) for column in facts.schema if (type_ := _type(column.type)) is not None]
    index = [_field(f"index/{name}", type_, _column(name), _meaning(facts.schema, name)) for name, type_ in columns]
    member = {"references": {"fileSet": {"@id": "index-files"}, "extract": {"column": "member"}}}
    pairs = [
        {**_field("pairs/member", "sc:Text", _file("image-files", "filename"), "the image's name in its tar"), **member},
        _field("pairs/image", "sc:ImageObject", _file("image-files", "content"), "the picture"),
        *(_field(f"pairs/{name}", type_, _column(name), _meaning(facts.schema, name)) for name, type_ in columns if name != "member"),
    ]
    told = {
        "pairs": ("pictures from the tars, with caption and metadata from the indexes", "pairs/member", pairs),
        "images": ("the tars' images", "images/uid", sets["images"]),
        "captions": ("the tars' captions", "captions/uid", sets["captions"]),
        "metadata": ("the tars' metadata", "metadata/uid", sets["metadata"]),
        "index": ("all that is known of each pair, without images", "index/uid", index),
    }
    return [
        {"@type": "cr:RecordSet", "@id": id_, "name": id_, "description": said, "key": {"@id": key_}, "field": fields}
        for id_, (said, key_, fields) in told.items()
    ]


def _file(files: str, what: str) -> dict[str, Any]:
    return {"fileSet": {"@id": files}, "extract": {"fileProperty": what}}


def _column(name: str) -> dict[str, Any]:
    return {"fileSet": {"@id": "index-files"}, "extract": {"column": name}}


def _field(id_: str, type_: str, source: Mapping[str, Any], meaning: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": id_, "name": id_, "description": meaning, "dataType": type_, "source": source}


def _meaning(schema: pa.Schema, column: str) -> str:
    if column not in schema.names:
        return column
    return (schema.field(column).metadata or {}).get(b"meaning", column.encode()).decode()


def _type(kind: pa.DataType) -> str | None:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:Text" if pa.types.is_string(kind) or pa.types.is_null(kind) else None


def _responsible(facts: Facts) -> dict[str, Any]:
    """The RAI properties: computed, as stated, or not stated."""
    about, reviews = facts.about, facts.manifest["reviews"]
    people = "no person reviewed pairs of this release" if reviews is None else (
        f"people answered questions about pairs; {reviews['accepted']:,} were accepted and {reviews['rejected']:,} rejected for it"
    )  # fmt: skip
    period = f" Period of the works: {about['collection_period']}." if "collection_period" in about else ""
    target = facts.manifest["target"]
    told = ", ".join(f"{key} {value}" for key, value in sorted(target.items()) if value is not None)
    return {
        "rai:dataCollection": f"How the source was come by: {about.said('collection')}. {text.collection(facts)}{period}",
        "rai:dataCollectionType": "Web scraping" if facts.hosts else "Secondary data analysis",
        "rai:dataCollectionRawData": about.said("source_description"),
        "rai:dataCollectionMissingData": "Rows without an image are not in it; values that a source does not state are null.",
        **({"rai:dataCollectionTimeFrame": list(facts.requested)} if facts.requested is not None else {}),  # dates alone are allowed
        "rai:dataImputationProtocol": "nothing is imputed",
        "rai:dataManipulationProtocol": text.redaction(facts),
        "rai:dataPreprocessingProtocol": [f"images: {told or 'as they came'}, without metadata", text.redaction(facts)],
        "rai:dataAnnotationProtocol": people,
        "rai:dataAnnotationPlatform": "none" if reviews is None else "quality.review of Pigment, or what its exchange files were filled by",
        "rai:dataAnnotationAnalysis": "not stated",
        "rai:annotationsPerItem": "0" if reviews is None else "not stated",
        "rai:annotatorDemographics": about.said("annotators"),
        "rai:machineAnnotationTools": [f"{one['name']}: {one['version']}" for one in facts.manifest["scorers"]],
        "rai:dataUseCases": about.said("intended_uses"),
        "rai:dataBiases": about.said("biases"),
        "rai:dataLimitations": about.said("limitations"),
        "rai:dataSocialImpact": about.said("social_impact"),
        "rai:personalSensitiveInformation": [
            text.redaction(facts),
            *(f"{said}: {holds:,} of {of:,} measured" for said, (holds, of) in facts.measured.items()),
            *([about["sensitive"]] if "sensitive" in about else []),
        ],
        "rai:dataReleaseMaintenancePlan": about.said("maintenance"),
    }
