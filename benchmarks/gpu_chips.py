"""GPUs as XLA's compiler describes them, so that it can compile for one without one.

Figures: openxla/xla, xla/backends/gpu/target_config/specs/h100_sxm.txtpb and
h200.txtpb; NVIDIA's data sheets for memory and bandwidth. The rate of large products is
what an H200 was measured at in bf16, 788 TFLOP/s; TF32 has half of it.
"""

from typing import NamedTuple

_RATES = """
  scalar_unit_description {
    rate_infos { key: 4 value { clock_rate_ghz: 1.98 units_per_core: 64 ops_per_clock: 1 } }
    rate_infos { key: 8 value { clock_rate_ghz: 1.98 units_per_core: 64 ops_per_clock: 1 } }
    rate_infos { key: 10 value { clock_rate_ghz: 1.98 units_per_core: 128 ops_per_clock: 2 } }
    rate_infos { key: 11 value { clock_rate_ghz: 1.98 units_per_core: 128 ops_per_clock: 1 } }
    rate_infos { key: 12 value { clock_rate_ghz: 1.98 units_per_core: 64 ops_per_clock: 1 } }
    rate_infos { key: 16 value { clock_rate_ghz: 1.98 units_per_core: 128 ops_per_clock: 2 } }
  }
  matrix_unit_description {
    rate_infos { key: 10 value { clock_rate_ghz: 1.83 units_per_core: 4 ops_per_clock: 512 } }
    rate_infos { key: 11 value { clock_rate_ghz: 1.83 units_per_core: 4 ops_per_clock: 256 } }
    rate_infos { key: 12 value { clock_rate_ghz: 1.98 units_per_core: 4 ops_per_clock: 32 } }
    rate_infos { key: 16 value { clock_rate_ghz: 1.83 units_per_core: 4 ops_per_clock: 512 } }
  }
"""  # noqa: E501


class Chip(NamedTuple):
    """A GPU: what a prediction needs, and what the compiler is told."""

    name: str
    memory_bytes: int
    bytes_per_second: float  # to and from its memory
    half_flops: float  # of large products with half-precision operands, per second
    tf32_flops: float
    link_bytes_per_second: float  # to other GPUs of the machine, each way

    def product_flops(self, precision: str) -> float:
        return self.tf32_flops if precision == "fp32" else self.half_flops

    def target_config(self) -> str:
        """Return a GpuTargetConfigProto as text."""
        return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {self.bytes_per_second:.0f}
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: {self.memory_bytes}
  shared_memory_per_block_optin: 232448
  cuda_compute_capability {{ major: 9 feature_extension: ACCELERATED_FEATURES }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  {_RATES}
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  device_vendor: "NVIDIA Corporation"
  platform_version: "Compute Capability 9.0a"
  device_address_bits: 64
  pcie_bandwidth: 34359738368
  ecc_enabled: true
  name: "{self.name}"
  driver_version: "13.0.0"
  runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.10.0"
  device_interconnect_info {{ active_links: 18 }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{self.name}"
"""


def _hopper(name: str, memory: int, bandwidth: float) -> Chip:
    return Chip(name, memory, bandwidth, 790e12, 395e12, 450e9)


CHIPS = {
    "h100": _hopper("NVIDIA H100 80GB HBM3", 84_942_979_072, 3.35e12),
    "h200": _hopper("NVIDIA H200 141GB HBM3e", 151_397_597_184, 4.8e12),
}
