"""What an ONNX file takes and gives: names, data types and shapes, read without its weights and without onnx.

Only the fields that are needed are read from the file's wire format (onnx.proto3, messages ModelProto to
TensorShapeProto; protobuf.dev, "Encoding"); everything else, tensors of gigabytes above all, is jumped over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_GRAPH, _INITIALIZER, _INPUT, _OUTPUT = 7, 5, 11, 12
_TENSOR_NAME = 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TYPES = {
    1: "TYPE_FP32",
    2: "TYPE_UINT8",
    3: "TYPE_INT8",
    4: "TYPE_UINT16",
    5: "TYPE_INT16",
    6: "TYPE_INT32",
    7: "TYPE_INT64",
    8: "TYPE_STRING",
    9: "TYPE_BOOL",
    10: "TYPE_FP16",
    11: "TYPE_FP64",
    12: "TYPE_UINT32",
    13: "TYPE_UINT64",
    16: "TYPE_BF16",
}
"""TensorProto.DataType by Triton's names (onnxruntime_backend, src/onnx_utils.cc)."""


class NotOnnxError(Exception):
    """The bytes are not an ONNX model; the message says what they are."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a model: its name, Triton's name of its type ("" for what Triton has none for), and its shape.

    A dimension is -1 where it is variable; the shape is None where the file does not say it.
    """

    name: str
    data_type: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, in its own order. Weights that an old file lists as inputs are none."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def signature(file: BinaryIO) -> Signature:
    """Reads a model's signature from a seekable file; raises NotOnnxError."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(8) == b"version ":
        raise NotOnnxError("is a pointer of git-lfs, and not the file itself")
    try:
        graphs = [span for number, span in _fields(file, _Span(0, size)) if number == _GRAPH]
        if not graphs or not isinstance(graphs[0], _Span):
            raise NotOnnxError("is not an ONNX model: it has no graph")
        return _graph(file, graphs[0])
    except (ValueError, UnicodeDecodeError) as error:
        raise NotOnnxError(f"is not an ONNX model, or a damaged one: {error}") from None


@dataclass(frozen=True)
class _Span:
    """A field's bytes in the file."""

    start: int
    end: int


def _graph(file: BinaryIO, graph: _Span) -> Signature:
    inputs, outputs, weights = [], [], set()
    for number, span in _fields(file, graph):
        if not isinstance(span, _Span):
            continue
        if number == _INPUT:
            inputs.append(_tensor(file, span))
        elif number == _OUTPUT:
            outputs.append(_tensor(file, span))
        elif number == _INITIALIZER:
            weights |= {_text(file, name) for name in _all(file, span, _TENSOR_NAME)}
    return Signature(tuple(tensor for tensor in inputs if tensor.name not in weights), tuple(outputs))


def _tensor(file: BinaryIO, value_info: _Span) -> Tensor:
    names = [_text(file, span) for span in _all(file, value_info, 1)]
    kind, shape = "", None
    for type_proto in _all(file, value_info, 2):
        for tensor_type in _all(file, type_proto, 1):
            for number, value in _fields(file, tensor_type):
                if number == 1 and isinstance(value, int):
                    kind = _TYPES.get(value, "")
                elif number == 2 and isinstance(value, _Span):
                    shape = tuple(_dimension(file, span) for span in _all(file, value, 1))
    return Tensor(names[-1] if names else "", kind, shape)


def _dimension(file: BinaryIO, dimension: _Span) -> int:
    return next((value for number, value in _fields(file, dimension) if number == 1 and isinstance(value, int)), -1)


def _all(file: BinaryIO, message: _Span, wanted: int) -> list[_Span]:
    return [span for number, span in _fields(file, message) if number == wanted and isinstance(span, _Span)]


def _text(file: BinaryIO, span: _Span) -> str:
    file.seek(span.start)
    return file.read(span.end - span.start).decode()


def _fields(file: BinaryIO, message: _Span) -> Iterator[tuple[int, int | _Span]]:
    """The fields of a message: a number for a varint, a span for what has a length."""
    position = message.start
    while position < message.end:
        key, position = _varint(file, position, message.end)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(file, position, message.end)
            yield number, value - (1 << 64) if value >> 63 else value
            continue
        if wire == _BYTES:
            length, position = _varint(file, position, message.end)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"at byte {position} stands a field of the unknown form {wire}")
        if position + length > message.end or number == 0:
            raise ValueError(f"at byte {position} it goes beyond its end")
        yield number, _Span(position, position + length)
        position += length


def _varint(file: BinaryIO, position: int, end: int) -> tuple[int, int]:
    file.seek(position)
    value = 0
    for place, byte in enumerate(file.read(min(10, max(0, end - position)))):
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, position + place + 1
    raise ValueError(f"at byte {position} it ends too early")
