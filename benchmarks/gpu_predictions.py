"""Write what is predicted of the step on each chip, for the day that it is measured.

python -m benchmarks.gpu_predictions        # needs the extra gpu-program, no GPU
"""

import json
from pathlib import Path

SAVED = Path(__file__).with_name("gpu_predictions.json")
SHAPES = [(4096, rows) for rows in (128, 256, 512)]
WINDOW = 256


def name(hidden_size: int, rows: int, precision: str) -> str:
    """Return what a shape in a precision is called among the predictions."""
    return f"{hidden_size}x{rows} {precision}"


def saved(device_kind: str) -> dict[str, float]:
    """Return characters a second by `name`, or nothing for a chip that is not known."""
    everything = json.loads(SAVED.read_text())["characters_per_second"]
    found = [chip for chip in everything if chip.upper() in device_kind.upper()]
    return everything[found[0]] if found else {}


def main() -> None:
    import jax

    from benchmarks import gpu_program
    from benchmarks.gpu_chips import CHIPS

    jax.config.update("jax_platforms", "cpu")
    gpu_program.check_installed()
    found: dict[str, dict[str, int]] = {chip: {} for chip in CHIPS}
    for chip in CHIPS:
        for hidden, rows in SHAPES:
            for precision in ("bf16", "fp16", "fp32"):
                request = gpu_program.Request(chip, precision, hidden, rows, WINDOW)
                _, plan = gpu_program.examine(request)
                key = name(hidden, rows, precision)
                found[chip][key] = round(plan.predicted_chars_per_second)
                print(chip, key, found[chip][key], flush=True)
    record = {"jax": jax.__version__, "window": WINDOW, "characters_per_second": found}
    SAVED.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
