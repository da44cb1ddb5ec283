"""The baselines in PyTorch, as its users write them; PyTorch is optional.

Weight norm is folded into the weights, so they do less work than ours.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class MultiplicativeLSTM(nn.Module):
    """A Python loop over time (Krause et al. 2016), state [B, H]."""

    def __init__(self, hidden_size: int, embedding_size: int, vocabulary_size: int):
        super().__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.wx = nn.Linear(embedding_size, 4 * hidden_size)
        self.wh = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.wmx = nn.Linear(embedding_size, hidden_size, bias=False)
        self.wmh = nn.Linear(hidden_size, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, vocabulary_size)

    def states(self, tokens: torch.Tensor):
        """Yield (hidden, cell) after each byte of tokens int64[T, B]."""
        hidden = torch.zeros(tokens.shape[1], self.hidden_size, device=tokens.device)
        cell = hidden
        for x in self.embedding(tokens):
            m = self.wmx(x) * self.wmh(hidden)
            i, f, o, u = (self.wx(x) + self.wh(m)).chunk(4, dim=1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(u)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            yield hidden, cell

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits [T, B, V]."""
        return self.output(torch.stack([hidden for hidden, _ in self.states(tokens)]))


class LSTM(nn.Module):
    """`nn.LSTM`, one layer: four fifths of the mLSTM's recurrent work."""

    def __init__(self, hidden_size: int, embedding_size: int, vocabulary_size: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.recurrent = nn.LSTM(embedding_size, hidden_size)
        self.output = nn.Linear(hidden_size, vocabulary_size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits [T, B, V]."""
        return self.output(self.recurrent(self.embedding(tokens))[0])


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def train_step(model: nn.Module, tokens: np.ndarray, precision: str):
    """Return a function that takes one step: clipping at 1.0, fused Adam.

    Args:
        model: maps int64[T, B] to logits [T, B, V].
        tokens: uint8[T + 1, B], the same at every step.
        precision: "fp32"; "bf16" or "fp16" by autocast, fp16 with a loss scale.
    """
    model = model.to(device())
    data = torch.from_numpy(tokens.astype(np.int64)).to(device())
    inputs, targets = data[:-1], data[1:].reshape(-1)
    adam = torch.optim.Adam(model.parameters(), lr=5e-4, fused=True)
    scaler = torch.amp.GradScaler(device().type, enabled=precision == "fp16")
    dtype = DTYPES[precision]

    def step():
        adam.zero_grad(set_to_none=True)
        with torch.autocast(device().type, dtype, enabled=dtype is not None):
            logits = model(inputs)
        loss = F.cross_entropy(logits.float().reshape(len(targets), -1), targets)
        scaler.scale(loss).backward()
        scaler.unscale_(adam)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(adam)
        scaler.update()
        wait()

    return step


@torch.inference_mode()
def final_cells(
    model: MultiplicativeLSTM, texts: list[bytes], batch_size: int
) -> np.ndarray:
    """Featurize in file order, each batch padded to its longest text.

    Returns:
        float32[N, H], the cell after each text's last byte.
    """
    features = []
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        tokens = np.zeros((max(map(len, batch)), len(batch)), np.int64)
        for row, text in enumerate(batch):
            tokens[: len(text), row] = np.frombuffer(text, np.uint8)
        last = torch.tensor([len(text) - 1 for text in batch], device=device())
        kept = torch.zeros(len(batch), model.hidden_size, device=device())
        states = model.states(torch.from_numpy(tokens).to(device()))
        for time, (_, cell) in enumerate(states):
            kept = torch.where((last == time)[:, None], cell, kept)
        features.append(kept.cpu().numpy())
    return np.concatenate(features)
