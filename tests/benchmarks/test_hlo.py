"""What is counted of a compiled program, on a text small enough to count by hand."""

import pytest

from benchmarks.gpu_chips import CHIPS
from benchmarks.gpu_program import (
    GRAPH_SECONDS,
    KERNEL_SECONDS,
    large_copies,
    predicted_seconds,
    weight_work_in_loops,
)
from benchmarks.hlo import Kernel, Part, Program

# A loop of 8 steps: a product [4, 16] x [16, 16] by the library, a fusion that writes
# its result into a buffer of 8, and a cast of the weight that is the same every time.
TEXT = """
HloModule step

%keep (p0: f32[8,4,16], p1: f32[4,16], p2: s32[]) -> f32[8,4,16] {
  %p0 = f32[8,4,16]{2,1,0} parameter(0)
  %p1 = f32[4,16]{1,0} parameter(1)
  %b = f32[1,4,16]{2,1,0} bitcast(%p1)
  %p2 = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %d = f32[8,4,16]{2,1,0} dynamic-update-slice(%p0, %b, %p2, %zero, %zero)
}

%cast (q0: f32[16,16]) -> bf16[16,16] {
  %q0 = f32[16,16]{1,0} parameter(0)
  ROOT %c = bf16[16,16]{1,0} convert(%q0)
}

%body (state: (s32[], bf16[4,16], f32[16,16], f32[8,4,16])) -> (s32[], bf16[4,16], f32[16,16], f32[8,4,16]) {
  %state = (s32[], bf16[4,16]{1,0}, f32[16,16]{1,0}, f32[8,4,16]{2,1,0}) parameter(0)
  %time = s32[] get-tuple-element(%state), index=0
  %h = bf16[4,16]{1,0} get-tuple-element(%state), index=1
  %w = f32[16,16]{1,0} get-tuple-element(%state), index=2
  %buffer = f32[8,4,16]{2,1,0} get-tuple-element(%state), index=3
  %w16 = bf16[16,16]{1,0} fusion(%w), kind=kLoop, calls=%cast
  %product = (f32[4,16]{1,0}, s8[4096]{0}) custom-call(%h, %w16), custom_call_target="__cublas$lt$matmul", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}
  %z = f32[4,16]{1,0} get-tuple-element(%product), index=0
  %kept = f32[8,4,16]{2,1,0} fusion(%buffer, %z, %time), kind=kLoop, calls=%keep
  ROOT %next = (s32[], bf16[4,16]{1,0}, f32[16,16]{1,0}, f32[8,4,16]{2,1,0}) tuple(%time, %h, %w, %kept)
}

%test (state.1: (s32[])) -> pred[] {
  %state.1 = (s32[]) parameter(0)
  ROOT %less = pred[] constant(true)
}

ENTRY %main (a: f32[16,16], g: f32[4]) -> f32[16,16] {
  %a = f32[16,16]{1,0} parameter(0)
  %g = f32[4]{0} parameter(1)
  %start = (s32[], bf16[4,16]{1,0}, f32[16,16]{1,0}, f32[8,4,16]{2,1,0}) tuple(%a)
  %loop = (s32[], bf16[4,16]{1,0}, f32[16,16]{1,0}, f32[8,4,16]{2,1,0}) while(%start), condition=%test, body=%body, backend_config={"known_trip_count":{"n":"8"}}
  %sum = f32[4]{0} all-reduce(%g), channel_id=1, replica_groups={{0,1}}, to_apply=%add
  ROOT %copied = f32[16,16]{1,0} copy(%a)
}
"""  # noqa: E501


def test_each_kernel_counts_what_it_must_move_and_multiply():
    loop, outside = Program(TEXT).parts()
    assert (loop.times, outside.times) == (8, 1)
    cast, product, kept = loop.kernels
    weight, rows = 16 * 16, 4 * 16
    assert (cast.kind, cast.read, cast.written) == ("other", 4 * weight, 2 * weight)
    assert (product.kind, product.flops) == ("product", 2 * rows * 16)
    # The room that the library works in is not moved.
    assert (product.read, product.written) == (2 * (rows + weight), 4 * rows)
    # Of the buffer only the slice that is written, and where it stands is read.
    assert (kept.read, kept.written) == (4 * rows + 4, 4 * rows)
    exchanged, copied = outside.kernels
    assert (exchanged.kind, copied.kind) == ("collective", "copy")
    assert copied.bytes == 2 * 4 * weight


def test_a_cast_of_a_weight_inside_a_loop_is_found():
    found = weight_work_in_loops(Program(TEXT), 16)
    assert found and all("bf16[16,16]" in line for line in found)
    without = TEXT.replace("bf16[16,16]", "bf16[4,4]")
    assert not weight_work_in_loops(Program(without), 16)


def test_a_large_copy_is_found_and_a_small_one_is_not():
    parts = Program(TEXT).parts()
    assert [line.split()[0] for line in large_copies(parts)] == ["copied"]
    assert not large_copies(parts, share=0.5)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_prediction_is_the_slower_of_bytes_and_products_and_the_launches(chip):
    given = CHIPS[chip]
    moves = Kernel("a", "other", 10**9, 10**9, 0, "")
    multiplies = Kernel("b", "product", 10**6, 0, 10**12, "")
    part = Part("loop", 256, (moves, multiplies))
    expected = 2e9 / given.bytes_per_second + 1e12 / given.half_flops
    expected += 2 * KERNEL_SECONDS + GRAPH_SECONDS
    assert predicted_seconds(part, given, "bf16") == pytest.approx(expected)
