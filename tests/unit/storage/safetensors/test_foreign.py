"""Files of other writers load here, and ours load elsewhere."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from safetensors import safe_open

from model_checkpoint.errors import UnverifiableError, UnverifiedWarning
from model_checkpoint.storage.safetensors.reader import load_file, open_file
from model_checkpoint.storage.safetensors.writer import save_file


@pytest.fixture
def foreign(path):
    """A file of the safetensors package, and what is in it."""
    tensors = {"w": torch.randn(5, 3, dtype=torch.bfloat16), "b": torch.arange(7), "s": torch.tensor(1.5)}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    return tensors


@pytest.mark.parametrize("mmap", [False, True], ids=["owned", "mmap"])
def test_a_foreign_file_loads_with_one_warning(path, foreign, mmap):
    """The default loads it, and says once that nothing was verified, pointing at the caller."""
    with pytest.warns(UnverifiedWarning) as caught:
        loaded = load_file(path, mmap=mmap)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert str(path) in str(caught[0].message)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in foreign.items())


def test_an_open_foreign_file_warns_once(path, foreign):
    """Opening warns, pointing at the caller; reads after that do not."""
    with pytest.warns(UnverifiedWarning) as caught:
        file = open_file(path)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(file.get_tensor("w"), foreign["w"])
        assert torch.equal(file.get_slice("w")[1:3, 1], foreign["w"][1:3, 1])


@pytest.mark.parametrize("level", ["full", "fast"])
def test_a_foreign_file_is_refused_where_verification_is_demanded(path, foreign, level):
    """A file without digests never passes as verified."""
    with pytest.raises(UnverifiableError):
        load_file(path, verify=level)


def test_a_foreign_file_loads_silently_without_verification(path, foreign):
    """verify='none' asks for nothing and warns of nothing."""
    assert torch.equal(load_file(path, verify="none")["b"], foreign["b"])


def test_a_file_with_old_packing_loads(path):
    """Tensors need not be aligned, and the header need not be padded."""
    text = b'{"a":{"shape":[3],"data_offsets":[1,4],"dtype":"U8"},"b":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}'
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\1\2\3\4")
    loaded = load_file(path, framework="numpy", verify="none")
    assert loaded["a"].tolist() == [2, 3, 4]
    assert loaded["b"] == 1


def test_the_safetensors_package_opens_our_files(path):
    """Names, metadata, tensors and slices of our files are what the package expects."""
    tensors = {"w": torch.randn(6, 4), "n": torch.tensor([0, 1, 65535], dtype=torch.uint16)}
    save_file(tensors, path, metadata={"author": "me"})
    with safe_open(path, "pt") as file:
        assert sorted(file.keys()) == ["n", "w"]
        assert file.metadata()["author"] == "me"
        assert torch.equal(file.get_tensor("w"), tensors["w"])
        assert torch.equal(file.get_slice("w")[2:4, 1:], tensors["w"][2:4, 1:])
    assert torch.equal(safetensors.torch.load_file(path)["n"], tensors["n"])
    assert np.array_equal(safetensors.numpy.load_file(path)["w"], tensors["w"].numpy())
    assert torch.equal(safetensors.torch.load(path.read_bytes())["w"], tensors["w"])


@pytest.fixture
def no_network(monkeypatch):
    """Models are built and read here alone."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
def test_transformers_opens_our_files(tmp_path, no_network, tie):
    """A model whose state was saved by us, tied weights included, is one that from_pretrained opens."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=tie,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    config.save_pretrained(tmp_path)
    save_file(model.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = transformers.LlamaForCausalLM.from_pretrained(tmp_path).eval()
    tokens = torch.arange(10)[None]
    with torch.no_grad():
        assert torch.equal(loaded(tokens).logits, model(tokens).logits)


def test_what_transformers_saved_loads_here(tmp_path, no_network):
    """save_pretrained's file has the weights of the model."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    model = transformers.BertModel(config)
    model.save_pretrained(tmp_path)
    loaded = load_file(tmp_path / "model.safetensors", verify="none")
    state = model.state_dict()
    assert loaded
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.items())


def test_many_threads_load_and_save_at_once(tmp_path):
    """Whole loads and saves in several threads do not disturb each other."""
    faults = []

    def work(index):
        path = tmp_path / f"{index}"
        for turn in range(5):
            tensor = torch.full((70_000,), float(index * 10 + turn))
            save_file({"t": tensor}, path, durable=False)
            if not torch.equal(load_file(path)["t"], tensor):
                faults.append((index, turn))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
