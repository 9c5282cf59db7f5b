import random
import threading

import numpy as np
import pytest
import torch

from model_checkpoint.checkpoint.cache import CacheStats, CheckpointCache
from model_checkpoint.errors import ConfigurationError


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_nobody_can_change_what_is_kept():
    """Neither the state that went in nor one that came out is the entry itself."""
    cache = CheckpointCache(1000)
    state = {"w": torch.ones(3), "a": np.ones(3), "l": [1]}
    cache.put("k", state, 24)
    state["w"].zero_()
    state["l"].append(2)
    first = cache.get("k")
    first["w"].zero_()
    first["a"][:] = 0
    second = cache.get("k")
    assert torch.equal(second["w"], torch.ones(3))
    assert np.array_equal(second["a"], np.ones(3))
    assert second["l"] == [1]


def test_shared_memory_stays_shared():
    """Tied tensors are tied in the copies."""
    cache = CheckpointCache(1000)
    base = torch.arange(6.0)
    cache.put("k", {"a": base, "view": base[2:], "tied": base}, 24)
    state = cache.get("k")
    state["a"].fill_(7)
    assert state["view"].tolist() == [7.0] * 4
    assert state["tied"] is state["a"]


def test_the_least_recently_used_goes_first():
    """A look-up keeps an entry young; bytes bound the whole."""
    cache = CheckpointCache(30)
    for key in "abc":
        cache.put(key, key, 10)
    cache.get("a")
    cache.put("d", "d", 20)
    assert [key for key in "abcd" if key in cache] == ["a", "d"]
    assert cache.nbytes == 30
    assert cache.stats == CacheStats(hits=1, evictions=2)


def test_an_old_entry_is_gone():
    """After ttl_s seconds, counted from the put, an entry is not found and its bytes are free."""
    clock = Clock()
    cache = CheckpointCache(30, ttl_s=10, clock=clock)
    cache.put("a", 1, 30)
    clock.now = 9.9
    assert cache.get("a") == 1
    clock.now = 10.0
    assert cache.get("a") is None
    assert (len(cache), cache.nbytes) == (0, 0)
    assert cache.stats == CacheStats(hits=1, misses=1, expirations=1)


def test_what_is_too_large_is_not_kept():
    """A state above the bound leaves the others alone."""
    cache = CheckpointCache(30)
    cache.put("a", 1, 30)
    assert not cache.put("b", 2, 31)
    assert "a" in cache


def test_a_key_has_one_entry():
    """Putting a key again replaces its state and its bytes; discard and clear free them."""
    cache = CheckpointCache(30)
    cache.put("a", 1, 30)
    cache.put("a", 2, 10)
    assert (cache.get("a"), cache.nbytes, len(cache)) == (2, 10, 1)
    cache.discard("a")
    cache.discard("a")
    assert cache.nbytes == 0
    cache.put("b", 1, 5)
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


@pytest.mark.parametrize(("max_bytes", "ttl_s"), [(0, None), (-1, None), (1, 0), (1, -1), (1, float("nan"))])
def test_bounds_that_hold_nothing_are_refused(max_bytes, ttl_s):
    """A cache that could hold nothing is a mistake."""
    with pytest.raises(ConfigurationError):
        CheckpointCache(max_bytes, ttl_s)


def test_threads_agree_on_the_bound():
    """Many threads putting, getting and discarding leave the bytes exact and bounded."""
    cache = CheckpointCache(500)

    def work(seed):
        rng = random.Random(seed)
        for _ in range(400):
            key = str(rng.randrange(20))
            match rng.randrange(3):
                case 0:
                    cache.get(key)
                case 1:
                    cache.put(key, key, rng.randrange(1, 200))
                case 2:
                    cache.discard(key)
            assert 0 <= cache.nbytes <= 500

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.nbytes == sum(entry.nbytes for entry in cache._entries.values())
