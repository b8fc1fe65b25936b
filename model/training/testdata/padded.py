"""One training step of PRISM with SASRec in plain PyTorch, padded and eager.

The same shapes, layers and losses as BenchmarkEpoch's padded baseline: mode
causal, loss bce with one negative a target, Adam, frozen features. It prints
the median milliseconds of a step, which tells how far that baseline is from
what a PyTorch user would write.

    python3 padded.py USERS WINDOW ITEMS HIDDEN FEATURES THREADS STEPS
"""
import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

users, window, items, hidden, features, threads, steps = map(int, sys.argv[1:])
layers, heads, expert_hidden, gate_hidden, dropout = 2, 2, 128, 128, 0.5
torch.set_num_threads(threads)
torch.manual_seed(1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(hidden, hidden) for _ in range(4))
        self.inner, self.outer = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.attention_norm, self.forward_norm = nn.LayerNorm(hidden, eps=1e-12), nn.LayerNorm(hidden, eps=1e-12)

    def forward(self, x, mask):
        split = lambda t: t.view(users, window, heads, -1).transpose(1, 2)
        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = query @ key.transpose(2, 3) / math.sqrt(hidden / heads) + mask
        mixed = (F.dropout(scores.softmax(-1), dropout) @ value).transpose(1, 2).reshape(users, window, hidden)
        x = self.attention_norm(x + F.dropout(self.output(mixed), dropout))
        return self.forward_norm(x + F.dropout(self.outer(F.gelu(self.inner(x))), dropout))


def perceptron(inputs, inner, outputs):
    return nn.Sequential(nn.Linear(inputs, inner), nn.GELU(), nn.Linear(inner, outputs))


class Prism(nn.Module):
    def __init__(self):
        super().__init__()
        self.items = nn.Embedding(items + 1, hidden, padding_idx=0)
        self.positions = nn.Embedding(window, hidden)
        self.tables = [torch.randn(items + 1, features) for _ in range(2)]
        self.projections = nn.ModuleList(nn.Linear(features, hidden) for _ in range(2))
        self.experts = nn.ModuleList(perceptron(2 * hidden, expert_hidden, hidden) for _ in range(4))
        self.gate = nn.Sequential(nn.Linear(5 * hidden, gate_hidden), nn.GELU(), nn.Dropout(0.3), nn.Linear(gate_hidden, 4))
        self.norm = nn.LayerNorm(hidden, eps=1e-12)
        self.blocks = nn.ModuleList(Block() for _ in range(layers))

    def forward(self, sequences, means, mask):
        embedded = self.items(sequences)
        vectors = [projection(table[sequences]) for projection, table in zip(self.projections, self.tables)]
        pooled = [means @ v for v in vectors]
        opinions = [expert(torch.cat(pooled, -1)) for expert in self.experts]
        weights = (self.gate(torch.cat(opinions + [means @ embedded], -1)) / 0.7).softmax(-1)
        mixture = (weights.unsqueeze(-2) @ torch.stack(opinions, -2)).squeeze(-2)
        x = embedded + mixture + vectors[0] + vectors[1] + self.positions.weight
        x = F.dropout(self.norm(x), dropout)
        for block in self.blocks:
            x = block(x, mask)
        return x, self.interaction([p[:, -1] for p in pooled], [o[:, -1] for o in opinions])

    def interaction(self, pooled, opinions):
        loss = 0.0
        for i, expert in enumerate(self.experts):
            replaced = []
            for j in range(2):
                inputs = list(pooled)
                mean, deviation = pooled[j].detach().mean(0), pooled[j].detach().std(0, unbiased=False)
                inputs[j] = torch.randn_like(pooled[j]) * deviation + mean
                replaced.append(F.cosine_similarity(opinions[i], expert(torch.cat(inputs, -1)), dim=-1))
            if i < 2:
                loss = loss + F.relu(replaced[i] - replaced[1 - i] + 1).mean()
            else:
                synergy = (replaced[0] + replaced[1]).mean() / 2
                loss = loss + (synergy if i == 2 else 1 - synergy)
        return 0.1 * loss


model = Prism()
adam = torch.optim.Adam(model.parameters(), lr=1e-3)
lengths = (torch.rand(users) * 12 + 2).long().clamp(max=window)
real = torch.arange(window) >= (window - lengths).unsqueeze(1)
sequences = torch.randint(1, items + 1, (users, window)) * real
targets, negatives = torch.randint(1, items + 1, (2, users, window))
causal = torch.ones(window, window).tril().bool()
pairs = causal & real.unsqueeze(1)
means = pairs.float() / pairs.sum(-1, keepdim=True).clamp(min=1)
mask = torch.zeros(pairs.shape).masked_fill(~(pairs | torch.eye(window).bool()), -math.inf).unsqueeze(1)


def step():
    adam.zero_grad()
    states, interaction = model(sequences, means, mask)
    score = lambda ids: (states * model.items(ids)).sum(-1)
    each = F.softplus(-score(targets)) + F.softplus(score(negatives))
    (interaction + (each * real).sum() / real.sum()).backward()
    adam.step()


step()
times = []
for _ in range(steps):
    begun = time.perf_counter()
    step()
    times.append(time.perf_counter() - begun)
print(1e3 * sorted(times)[len(times) // 2])
