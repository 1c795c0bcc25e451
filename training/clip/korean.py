"""Trains the embedding rows of Korean word pieces: a Korean name shall mean to the frozen MiniLM what the English one means.

The teacher is the same MiniLM on the English side of each concept. Nothing but the rows is trained.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from training.clip.prepare import Entry
from training.clip.towers import Progress, Towers, chunks

BATCH = 160  # concepts a step
RATE = 4e-3  # of Adam; the rows' entries are about 0.05
TEMPERATURE = 0.06
PULL = 2.0  # weight of the distance to the teacher beside the contrast among the batch
KINDS = (0.25, 0.25, 0.5)  # shares of keywords, names with keywords, names
BY_SYLLABLE = 0.35  # share of steps that use no longer pieces, so that unseen words find trained parts


def initial_rows(pieces: int, entries: Sequence[Entry], towers: Towers) -> torch.Tensor:
    """First values of the rows, (pieces, 384): the mean of the English words beside which a piece stands, or of all words."""
    words = towers.model.text.transformer.embeddings.word_embeddings.weight.detach()
    first = len(words) - pieces
    middle = words[999:first].mean(0)  # below are BERT's special and unused tokens
    sums, counts = torch.zeros(pieces, words.shape[1]), torch.zeros(pieces, 1)
    for entry in entries:
        sides = [*entry.names, (" ".join(entry.keywords), " ".join(entry.keywords_ko))]
        for weight, (english, korean) in zip([1.0] * len(entry.names) + [0.2], sides, strict=True):
            meaning = words[towers.tokens([english])[0][1:-1]].mean(0) - middle if english else torch.zeros_like(middle)
            for tokens in (towers.tokens([korean])[0], towers.tokens([korean], by_syllable=True)[0]):
                found = tokens[tokens >= first].unique() - first
                sums[found] += weight * meaning
                counts[found] += weight
    return middle + sums / counts.clamp(min=1)


def train_rows(
    rows: torch.Tensor,
    entries: Sequence[Entry],
    towers: Towers,
    *,
    bag_steps: int,
    steps: int,
    seed: int,
    progress: Progress = lambda done, of: None,
) -> torch.Tensor:
    """The rows after training, (pieces, 384); one seed gives one result on one machine.

    First `bag_steps` steps match the mean word embeddings of both sides, at no cost; then `steps` steps go through the whole of MiniLM.
    """
    english = [_english(entry) for entry in entries]
    texts = [text for of_entry in english for text in of_entry]
    middle = rows.mean(0)
    stages = ((bag_steps, lambda ids, rows: towers.words(ids, rows) - middle), (steps, towers.pooled))
    for count, encode in stages:
        with torch.inference_mode():
            features = [encode(towers.tokens(batch), None) for batch in chunks(texts, 64)] if count else []
        rows = (
            _train(rows, entries, english, torch.cat(features).clone(), encode, towers, steps=count, seed=seed, progress=progress)
            if count
            else rows
        )
    return rows


def _train(rows, entries, english, features, encode, towers: Towers, *, steps: int, seed: int, progress: Progress) -> torch.Tensor:
    draw = np.random.default_rng(seed)
    waiting = iter(features)
    targets = [torch.stack([next(waiting) for _ in of_entry]) for of_entry in english]
    rows = rows.clone().requires_grad_(True)
    adam = torch.optim.Adam([rows], lr=RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=RATE, total_steps=steps, pct_start=0.1)
    order: list[int] = []
    for step in range(steps):
        if len(order) < BATCH:
            order = [*order, *draw.permutation(len(entries)).tolist()]
        batch, order = order[:BATCH], order[BATCH:]
        kinds = draw.choice(3, len(batch), p=KINDS)
        drawn = (_korean(entries[index], kind, targets[index], draw) for index, kind in zip(batch, kinds, strict=True))
        texts, wanted = zip(*drawn, strict=True)
        ids = towers.tokens(texts, by_syllable=draw.random() < BY_SYLLABLE)
        got, teacher = F.normalize(encode(ids, rows), dim=1), F.normalize(torch.stack(wanted), dim=1)
        logits = got @ teacher.T / TEMPERATURE
        own = torch.arange(len(batch))
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2 + PULL * (1 - (got * teacher).sum(1)).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        progress(step + 1, steps)
    return rows.detach()


def _english(entry: Entry) -> list[str]:
    """The teacher's texts: keywords alone, the first name with keywords, and each name."""
    names = [english for english, _ in entry.names]
    return [" ".join(entry.keywords[:6]) or names[0], ", ".join((names[0], *entry.keywords[:5])), *names]


def _korean(entry: Entry, kind: int, targets: torch.Tensor, draw: np.random.Generator) -> tuple[str, torch.Tensor]:
    """A Korean text of the kind 0, 1 or 2 (in the order of `_english`), and the English features it shall have."""
    some = draw.permutation(entry.keywords_ko)[: draw.integers(1, 5)].tolist() if entry.keywords_ko else []
    if kind == 0 and some:
        return " ".join(some), targets[0]
    if kind == 1:
        return ", ".join((entry.names[0][1], *some)), targets[1]
    name = int(draw.integers(len(entry.names)))
    return entry.names[name][1], targets[2 + name]
