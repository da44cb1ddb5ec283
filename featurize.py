"""Write the features of texts; the same as `sdjax featurize`.

    python featurize.py --checkpoint runs/quickstart --input texts.csv \\
        --text-key sentence --label-key label --output features/train.npz

The command is in sdjax/commands/featurize.py.
"""

from sdjax.cli import script

if __name__ == "__main__":
    script("featurize")
