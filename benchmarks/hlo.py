"""Read a compiled GPU program, XLA's text: its kernels, their bytes, their products.

What a kernel must move is counted, not what it may move: of a buffer that it reads or
writes a slice of, the slice; of everything else each byte once. Caches are not.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_ITEM = {
    **dict.fromkeys(("pred", "s8", "u8"), 1),
    **dict.fromkeys(("bf16", "f16", "s16", "u16"), 2),
    **dict.fromkeys(("f32", "s32", "u32"), 4),
    **dict.fromkeys(("f64", "s64", "u64"), 8),
}
_ARRAY = re.compile(rf"\b({'|'.join(_ITEM)})\[([\d,]*)\]")
_LINE = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = (\([^=]*?\)|\S+) ([\w\-]+)\((.*)$")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{\s*$")
# These move nothing: names for what is there already, or work of the host.
_FREE = {
    *("parameter", "get-tuple-element", "tuple", "bitcast", "constant", "while"),
    *("after-all", "partition-id", "replica-id", "fusion-done", "copy-done"),
    *("all-reduce-done", "async-done", "opt-barrier", "iota"),
}
_FUSIONS = ("fusion", "fusion-start")  # the second where others run beside it
_VIEWS = ("bitcast", "reshape")
_SLICES = ("dynamic-slice", "slice", "gather")
COLLECTIVES = ("all-reduce", "all-reduce-start", "all-gather", "reduce-scatter")


class Instruction(NamedTuple):
    """One line of a program."""

    is_root: bool
    name: str
    shape: str
    op: str
    operands: tuple[str, ...]
    attributes: str


Computation = dict[str, Instruction]


class Kernel(NamedTuple):
    """What one kernel moves and multiplies."""

    name: str
    kind: str  # "product", "copy", "collective" or "other"
    read: int  # bytes
    written: int
    flops: int
    shape: str

    @property
    def bytes(self) -> int:
        return self.read + self.written


class Part(NamedTuple):
    """The kernels of a loop's body, or of what stands outside of all loops."""

    name: str
    times: int  # how often it runs
    kernels: tuple[Kernel, ...]

    @property
    def products(self) -> int:
        return sum(kernel.kind == "product" for kernel in self.kernels)

    @property
    def bytes(self) -> int:
        return sum(kernel.bytes for kernel in self.kernels)

    @property
    def flops(self) -> int:
        return sum(kernel.flops for kernel in self.kernels)


def arrays(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return dtype and dimensions of each array in a shape's text."""
    found = _ARRAY.findall(shape)
    return [(d, tuple(int(n) for n in dims.split(",") if n)) for d, dims in found]


def size(shape: str) -> int:
    """Return the bytes of a shape's arrays."""
    return sum(_ITEM[dtype] * math.prod(dims) for dtype, dims in arrays(shape))


class Program:
    """An optimised program.

    Args:
        text: of a compiled executable, `compiled.as_text()`.
    """

    def __init__(self, text: str):
        self.computations: dict[str, Computation] = {}
        self.entry = ""
        current = None
        for line in text.splitlines():
            if head := _HEAD.match(line):
                current = self.computations.setdefault(head[2], {})
                if head[1]:
                    self.entry = head[2]
            elif line.startswith("}"):
                current = None
            elif current is not None and (found := _parse(line)):
                current[found.name] = found

    def parts(self) -> list[Part]:
        """Return the loops over time, in the order that they run in, and the rest."""
        found = [
            Part(f"loop {number}", times, self._kernels(body))
            for number, (body, times) in enumerate(self.loops(), 1)
        ]
        if len(found) == 2:  # of a training step
            names = "forward loop", "backward loop"
            found = [
                part._replace(name=n) for part, n in zip(found, names, strict=True)
            ]
        return [*found, Part("outside", 1, self._kernels(self.entry))]

    def loops(self) -> list[tuple[str, int]]:
        """Return the name of each loop's body and how often it runs."""
        found = []
        for instruction in self.computations[self.entry].values():
            if instruction.op == "while":
                body = _called(instruction, "body")
                count = re.search(
                    r'known_trip_count":\{"n":"(\d+)"', instruction.attributes
                )
                found.append((body, int(count[1]) if count else 1))
        return found

    def inside(self, name: str) -> Iterator[Instruction]:
        """Yield a computation's instructions, those of its fusions included."""
        for instruction in self.computations[name].values():
            yield instruction
            if instruction.op in _FUSIONS:
                yield from self.inside(_called(instruction, "calls"))

    def collectives(self) -> list[Instruction]:
        """Return what devices exchange, wherever it stands."""
        found = (i for c in self.computations.values() for i in c.values())
        return [i for i in found if i.op in COLLECTIVES]

    def _kernels(self, name: str) -> tuple[Kernel, ...]:
        computation = self.computations[name]
        made = (self._kernel(i, computation) for i in computation.values())
        return tuple(kernel for kernel in made if kernel)

    def _kernel(self, instruction: Instruction, around: Computation) -> Kernel | None:
        if instruction.op in _FREE or "AllocateBuffer" in instruction.attributes:
            return None
        kind, flops = "other", 0
        read = sum(size(around[o].shape) for o in instruction.operands if o in around)
        written = size(_result(instruction))
        if instruction.op in _FUSIONS:
            inner = self.computations[_called(instruction, "calls")]
            read, written = _moved(inner)
            products = [i for i in inner.values() if _is_product(i)]
            flops = sum(_flops(i, inner) for i in products)
            if products:
                kind = "product"
            elif _only_copies(inner):
                kind = "copy"
        elif _is_product(instruction):
            kind, flops = "product", _flops(instruction, around)
        elif instruction.op in COLLECTIVES:
            kind = "collective"
        elif instruction.op.startswith("copy"):
            kind = "copy"
        return Kernel(instruction.name, kind, read, written, flops, instruction.shape)


def _parse(line: str) -> Instruction | None:
    line = re.sub(r"/\*index=\d+\*/|, metadata=\{[^}]*\}", "", line)
    found = _LINE.match(line)
    if not found:
        return None
    root, name, shape, op, rest = found.groups()
    depth, end = 1, 0
    while end < len(rest) and depth:
        depth += (rest[end] in "({") - (rest[end] in ")}")
        end += 1
    operands = tuple(re.findall(r"%([\w.\-]+)", rest[:end]))
    return Instruction(bool(root), name, shape, op, operands, rest[end:])


def _called(instruction: Instruction, how: str) -> str:
    return re.search(rf"{how}=%?([\w.\-]+)", instruction.attributes)[1]


def _result(instruction: Instruction) -> str:
    """Return the shape that is written; a library's product has room to work beside."""
    if instruction.op == "custom-call":
        return instruction.shape.split(", s8[")[0]
    return instruction.shape


def _is_product(instruction: Instruction) -> bool:
    library = instruction.op == "custom-call" and "cublas" in instruction.attributes
    return library or instruction.op == "dot"


def _flops(product: Instruction, around: Computation) -> int:
    (_, out), *_ = arrays(product.shape)
    (_, left), *_ = arrays(around[product.operands[0]].shape)
    pattern = r'"?lhs_contracting_dim(?:ension)?s"?[=:][\[{]([\d",]+)[\]}]'
    contracted = re.search(pattern, product.attributes)[1].replace('"', "")
    inner = math.prod(left[int(n)] for n in contracted.split(","))
    return 2 * math.prod(out) * inner


def _moved(inner: Computation) -> tuple[int, int]:
    """Return the bytes that a fusion reads and writes."""
    users: dict[str, list[Instruction]] = {}
    for instruction in inner.values():
        for operand in instruction.operands:
            users.setdefault(operand, []).append(instruction)

    def used(name: str) -> int:
        whole, total = size(inner[name].shape), 0
        for user in users.get(name, []):
            first = user.operands[0] == name
            if user.op in _SLICES and first:
                total += size(user.shape)
            elif user.op in _VIEWS:
                total += used(user.name)
            elif not (user.op == "dynamic-update-slice" and first):
                return whole
        return min(total, whole)

    def made(instruction: Instruction) -> int:
        if instruction.op == "tuple":
            return sum(made(inner[o]) for o in instruction.operands)
        if instruction.op in _VIEWS and instruction.operands:
            return made(inner[instruction.operands[0]])
        if instruction.op == "dynamic-update-slice":
            return size(inner[instruction.operands[1]].shape)
        return size(_result(instruction))

    read = sum(used(i.name) for i in inner.values() if i.op == "parameter")
    root = next(i for i in inner.values() if i.is_root)
    return read, made(root)


def _only_copies(inner: Computation) -> bool:
    """Whether a fusion moves arrays and computes nothing on them."""
    moves = {*_VIEWS, "parameter", "slice", "transpose", "copy", "tuple"}
    return all(i.op in moves | {"concatenate"} for i in inner.values())
