"""How long the catalog takes to answer when it knows many checkpoints.

    python benchmarks/catalog.py [--checkpoints 10000] [--repeats 50]

Prints the median in milliseconds of each question, once over SQLAlchemy (`Catalog`, what training uses) and once over
the standard library (`Listing`, what `mckpt` uses), in one run. Every answer is checked against one that was computed
without a database. Exits with 1 if a median is above the bound of 20 ms.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from model_checkpoint.database import Catalog, Listing
from model_checkpoint.types import CheckpointInfo, ExperimentInfo

BOUND_MS = 20.0
EXPERIMENTS = ("bert", "gpt2", "resnet", "vit")
METRICS = ("val_loss", "accuracy", "perplexity")
START = datetime(2025, 1, 1, tzinfo=UTC)


def make_infos(count: int) -> list[CheckpointInfo]:
    """Half of the checkpoints are of one experiment; a tenth of the metric values are NaN."""
    chance = random.Random(1)
    infos = []
    for seq in range(1, count + 1):
        experiment = EXPERIMENTS[1] if seq % 2 else chance.choice(EXPERIMENTS)
        id_ = f"{chance.getrandbits(128):032x}"
        infos.append(
            CheckpointInfo(
                id=id_,
                experiment=experiment,
                step=seq * 100,
                seq=seq,
                created_at=START + timedelta(minutes=seq),
                path=f"{experiment}/step-{seq * 100:08d}-{id_[:8]}",
                nbytes=chance.randrange(10**9),
                digest=f"{chance.getrandbits(256):064x}",
                content=f"{chance.getrandbits(256):064x}",
                metrics={
                    name: float("nan") if chance.random() < 0.1 else round(chance.random(), 4) for name in METRICS
                },
                aliases=(f"v{seq}",) if seq % 100 == 0 else (),
                tags={"host": "a"} if seq % 10 == 0 else {},
            )
        )
    return infos


def median_ms(question: Callable[[], object], repeats: int) -> float:
    samples = []
    for _ in range(repeats):
        begin = time.perf_counter()
        question()
        samples.append((time.perf_counter() - begin) * 1000)
    return statistics.median(samples)


def questions(
    catalog: Catalog | Listing, infos: Sequence[CheckpointInfo]
) -> dict[str, tuple[Callable[[], object], object]]:
    """Each question with the id, or the ids, that must come back."""
    mine = [info for info in infos if info.experiment == "gpt2"]
    numbers = [info for info in mine if info.metrics["val_loss"] == info.metrics["val_loss"]]
    best = min(numbers, key=lambda info: (info.metrics["val_loss"], -info.seq))
    some = infos[len(infos) // 2]

    def ids(found: Sequence[CheckpointInfo]) -> list[str]:
        return [info.id for info in found]

    def id_of(found: CheckpointInfo | None) -> str:
        assert found is not None
        return found.id

    return {
        "latest": (lambda: id_of(catalog.latest("gpt2")), mine[-1].id),
        "best": (lambda: id_of(catalog.best("gpt2", "val_loss", "min")), best.id),
        "ls 50": (lambda: ids(catalog.list("gpt2", limit=50)), ids(mine[:-51:-1])),
        "ls 50, whole store": (lambda: ids(catalog.list(limit=50)), ids(infos[:-51:-1])),
        "resolve step": (lambda: id_of(catalog.resolve(some.step)), some.id),
        "resolve id prefix": (lambda: id_of(catalog.resolve(some.id[:12])), some.id),
        "resolve alias": (lambda: id_of(catalog.resolve("v100")), infos[99].id),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()
    infos = make_infos(arguments.checkpoints)
    with tempfile.TemporaryDirectory() as root, Catalog.open(root) as catalog:
        begin = time.perf_counter()
        catalog.rebuild(infos, [ExperimentInfo(name, START, "val_loss", "min") for name in EXPERIMENTS])
        print(f"{len(infos)} checkpoints indexed in {time.perf_counter() - begin:.2f} s")
        with Listing.open(root) as listing:
            medians = report(catalog, listing, infos, arguments.repeats)
    print(f"bound: {BOUND_MS:g} ms for each; slowest: {max(medians):.2f} ms")
    return 0 if max(medians) < BOUND_MS else 1


def report(catalog: Catalog, listing: Listing, infos: Sequence[CheckpointInfo], repeats: int) -> list[float]:
    """Print the table; the medians in milliseconds."""
    medians: list[float] = []
    print(f"{'median ms':<20}{'Catalog':>10}{'Listing':>10}")
    by_catalog, by_listing = questions(catalog, infos), questions(listing, infos)
    for name, (ask_catalog, expected) in by_catalog.items():
        ask_listing = by_listing[name][0]
        assert expected == ask_catalog() == ask_listing(), name
        row = median_ms(ask_catalog, repeats), median_ms(ask_listing, repeats)
        print(f"{name:<20}{row[0]:>10.2f}{row[1]:>10.2f}")
        medians.extend(row)
    return medians


if __name__ == "__main__":
    sys.exit(main())
