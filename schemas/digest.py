"""Digests of content: the same rows give the same digest whatever wrote the file and however it is chunked."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def digest_of_json(value: Any) -> str:
    """SHA-256 (hex) over canonical JSON: sorted keys, no spaces, UTF-8."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 (hex) of a local file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return digest_of_bytes(file)


def digest_of_bytes(file: Any) -> str:
    """SHA-256 (hex) of an open binary file, from where it stands."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_table(table: pa.Table) -> str:
    """SHA-256 (hex) over names, types, validity and values of all columns in order. Nulls count as nulls, whatever lies beneath them."""
    hasher = hashlib.sha256(str(table.num_rows).encode())
    for name, column in zip(table.column_names, table.columns, strict=True):
        array = column.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
        hasher.update(f"|{name}|{_kind(column.type)}|".encode())
        _update(hasher, array)
    return hasher.hexdigest()


def _kind(type_: pa.DataType) -> str:
    """The type without the names of list items, which Parquet changes."""
    if pa.types.is_fixed_size_list(type_):
        return f"list<{_kind(type_.value_type)}>[{type_.list_size}]"
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return f"list<{_kind(type_.value_type)}>"
    if pa.types.is_struct(type_):
        return f"struct<{', '.join(f'{field.name}: {_kind(field.type)}' for field in type_)}>"
    return str(type_)


def _update(hasher: Any, array: pa.Array) -> None:
    if isinstance(array.type, pa.DictionaryType):
        array = array.dictionary_decode()
    hasher.update(np.packbits(np.asarray(pc.is_valid(array))).tobytes())
    kind = array.type
    if pa.types.is_null(kind):
        return
    array = array.drop_null()
    if pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            _update(hasher, pc.struct_field(array, index))
    elif pa.types.is_fixed_size_list(kind):
        _update(hasher, array.flatten())
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        hasher.update(np.asarray(pc.list_value_length(array), np.int64).tobytes())
        _update(hasher, array.flatten() if not pa.types.is_map(kind) else pc.list_flatten(array.cast(pa.list_(array.type.value_type))))
    elif pa.types.is_boolean(kind):
        hasher.update(np.packbits(array.to_numpy(zero_copy_only=False)).tobytes())
    elif pa.types.is_fixed_size_binary(kind):
        hasher.update(b"".join(array.to_pylist()))
    elif pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        offsets = np.frombuffer(array.buffers()[1], np.int64 if "large" in str(kind) else np.int32)[
            array.offset : array.offset + len(array) + 1
        ]
        hasher.update(np.diff(offsets.astype(np.int64)).tobytes())
        if len(array) and array.buffers()[2] is not None:
            hasher.update(memoryview(array.buffers()[2])[int(offsets[0]) : int(offsets[-1])])
    else:
        hasher.update(np.ascontiguousarray(array.to_numpy(zero_copy_only=False)).tobytes())
