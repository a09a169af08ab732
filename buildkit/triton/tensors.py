"""Inputs and outputs of a configuration: whether they are said rightly, and whether they are the model's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from buildkit.reading.checked import choice
from buildkit.reading.plain import shown
from buildkit.triton.config import data_type
from buildkit.triton.onnx_signature import NotOnnxError, Signature, Tensor, signature

Told = tuple[str, str]
"""What is wrong, and what to do about it."""

_ANY = -1


def told(message: Any, *, guessed: bool) -> Iterator[Told]:
    """What is wrong with the inputs and outputs by themselves. ``guessed``: an absent type was told already."""
    if message.max_batch_size < 0:
        yield f"max_batch_size is {message.max_batch_size}", "write 0 for no batching, or the largest batch"
    yield from _batching(message)
    for key in ("input", "output"):
        names = [tensor.name for tensor in getattr(message, key)]
        for name in sorted({name for name in names if name and names.count(name) > 1}):
            yield f"the {key} {shown(name)} is there twice", ""
        for number, tensor in enumerate(getattr(message, key), 1):
            yield from _one(key, tensor, number, message.max_batch_size, guessed=guessed)


def _batching(message: Any) -> Iterator[Told]:
    largest = message.max_batch_size
    if message.HasField("dynamic_batching"):
        for size in message.dynamic_batching.preferred_batch_size:
            if not 0 < size <= largest:
                yield f"the preferred_batch_size {size} is not within max_batch_size, {largest}", ""


def _one(key: str, tensor: Any, number: int, largest: int, *, guessed: bool) -> Iterator[Told]:
    name = f"the {key} {shown(tensor.name)}" if tensor.name else f"{key} {number}"
    if not tensor.name:
        yield f"{name} has no name", ""
    if not tensor.data_type and not guessed:
        yield f"{name} has no data_type", "write one such as TYPE_FP32"
    if not tensor.dims:
        yield f"{name} has no dims", "write its dimensions without the batch's, such as [ 3, 224, 224 ]"
    wrong = [dimension for dimension in tensor.dims if dimension < 1 and dimension != _ANY]
    if wrong:
        yield f"{name} has the dimension {wrong[0]}", "dimensions are 1 and more, or -1 for a variable one"
    if tensor.HasField("reshape"):
        yield from _reshape(name, list(tensor.dims), list(tensor.reshape.shape), largest)


def _reshape(name: str, dims: list[int], shape: list[int], largest: int) -> Iterator[Told]:
    if not shape and largest == 0:
        yield f"{name} has an empty reshape, which only a batching model may have", ""
    elif _ANY not in (*dims, *shape) and _product(dims) != _product(shape):
        yield f"{name} has {_product(dims)} elements by its dims, and {_product(shape)} by its reshape", ""


def _product(dimensions: Sequence[int]) -> int:
    product = 1
    for dimension in dimensions:
        product *= dimension
    return product


def against_onnx(message: Any, file: BinaryIO) -> tuple[str, list[Told]]:
    """What is wrong with an ONNX file, and where the configuration and the file disagree."""
    try:
        found = signature(file)
    except NotOnnxError as error:
        return str(error), []
    return "", list(_differences(message, found))


def _differences(message: Any, found: Signature) -> Iterator[Told]:
    yield from _unbatched(message, found)
    for key, theirs in (("input", found.inputs), ("output", found.outputs)):
        by_name = {tensor.name: tensor for tensor in theirs}
        ours = [tensor for tensor in getattr(message, key) if tensor.name]
        for tensor in ours:
            if tensor.name in by_name:
                yield from _difference(key, tensor, by_name[tensor.name], message.max_batch_size)
            else:
                yield f"the model has no {key} {shown(tensor.name)}", choice(tensor.name, by_name, f"its {key}s are")
        said = {tensor.name for tensor in ours} | _made(message)
        absent = [name for name in by_name if name not in said]
        if key == "input" and ours and len(absent) > sum(tensor.name not in by_name for tensor in ours):
            yield f"the model's input {', '.join(map(shown, absent))} is not listed", "list every input"


def _made(message: Any) -> set[str]:
    """Tensors that Triton itself gives a model: the control and the state of a sequence, and what it counts of a batch."""
    sequence = message.sequence_batching
    controls = {control.name for control in sequence.control_input}
    states = {state.input_name for state in sequence.state}
    return controls | states | {name for batch in message.batch_input for name in batch.target_name}


def _unbatched(message: Any, found: Signature) -> Iterator[Told]:
    """A model that batches must take a variable first dimension everywhere."""
    if message.max_batch_size <= 0:
        return
    fixed = [one for one in (*found.inputs, *found.outputs) if one.shape is not None and one.shape[:1] != (_ANY,)]
    if fixed:
        shape = list(fixed[0].shape or ())
        what = (
            f"max_batch_size is {message.max_batch_size}, and {shown(fixed[0].name)} of the model has the shape {shape}"
        )
        yield f"{what}, whose first dimension is not variable", "write max_batch_size: 0 and the whole shape as dims"


def _difference(key: str, ours: Any, theirs: Tensor, largest: int) -> Iterator[Told]:
    name = f"the {key} {shown(ours.name)}"
    said = data_type(ours.data_type)
    if ours.data_type and theirs.data_type and said != theirs.data_type:
        yield f"{name} is {said}, and {theirs.data_type} in the model", f"write {theirs.data_type}"
    if theirs.shape is None or not ours.dims or 0 in ours.dims:
        return
    dims = list(ours.reshape.shape) if ours.HasField("reshape") else list(ours.dims)
    wanted = list(theirs.shape[1:] if largest > 0 else theirs.shape)
    if largest > 0 and theirs.shape[:1] != (_ANY,):
        return  # told for the whole model
    if not _fits(dims, wanted):
        batch = ", the batch's dimension left out" if largest > 0 else ""
        yield f"{name} has dims {dims}, and {wanted} in the model{batch}", f"write dims: {wanted}"


def _fits(ours: Sequence[int], theirs: Sequence[int]) -> bool:
    """A variable dimension of the model takes every size; a fixed one takes only itself. A scalar is a list of one."""
    theirs = theirs or [1]
    return len(ours) == len(theirs) and all(there in (_ANY, here) for here, there in zip(ours, theirs, strict=True))
