"""Train a byte-level language model on a corpus; the same as `sdjax train`.

    python train.py --config configs/quickstart.py --workdir runs/quickstart

Running the same command again resumes from the last checkpoint. The loop is in
sdjax/training/loop.py.
"""

from sdjax.cli import script

if __name__ == "__main__":
    script("train")
