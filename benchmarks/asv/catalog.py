"""Questions to the catalog of 10,000 checkpoints."""

from __future__ import annotations

from benchmarks.catalog import EXPERIMENTS, START, make_infos
from model_checkpoint.database import Catalog
from model_checkpoint.types import ExperimentInfo

CHECKPOINTS = 10_000


class Questions:
    """What training and the command line ask, over SQLAlchemy, with the catalog open."""

    def setup_cache(self) -> None:
        with Catalog.open(".") as catalog:
            catalog.rebuild(
                make_infos(CHECKPOINTS), [ExperimentInfo(name, START, "val_loss", "min") for name in EXPERIMENTS]
            )

    def setup(self) -> None:
        self.catalog = Catalog.open(".")
        self.catalog.latest("gpt2")  # the first question pays for the connection

    def teardown(self) -> None:
        self.catalog.close()

    def time_latest(self) -> None:
        self.catalog.latest("gpt2")

    def time_best(self) -> None:
        self.catalog.best("gpt2", "val_loss", "min")

    def time_last_50(self) -> None:
        self.catalog.list("gpt2", limit=50)

    def time_last_50_of_the_store(self) -> None:
        self.catalog.list(limit=50)

    def time_resolve_step(self) -> None:
        self.catalog.resolve(CHECKPOINTS // 2 * 100)

    def time_resolve_alias(self) -> None:
        self.catalog.resolve("v100")
