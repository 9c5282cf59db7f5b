"""Checks left out: bytes that are believed without proof."""

from __future__ import annotations

from tests.harness.mutants.mutant import Mutant, Test

__all__ = ["MUTANTS"]

_CHECKPOINTS = "tests/corruption/test_checkpoints.py"
_PLAIN_FILES = "tests/corruption/test_plain_files.py"

MUTANTS = (
    Mutant(
        "the manifest is not checked by its digest",
        "a flipped bit in the manifest is believed",
        "storage/manifest.py",
        '    if raw[len(_START) : len(_START) + _DIGITS] != digest.encode("ascii"):\n',
        "    if False:\n",
        (Test(f"{_CHECKPOINTS}::test_every_single_bit_of_manifest_and_index_is_guarded"),),
    ),
    Mutant(
        "headers are not checked by their digest",
        "a flipped bit in a tensor's name or shape is believed",
        "storage/safetensors/header.py",
        "    if raw[DIGEST_OFFSET : DIGEST_OFFSET + len(digest)] != digest.encode():\n",
        "    if False:\n",
        (Test(_PLAIN_FILES),),
    ),
    Mutant(
        "tensors are loaded without their digests",
        "a flipped bit in a tensor is loaded",
        "storage/safetensors/plain_file.py",
        """\
                table=None if check == "none" else self.header.table,
                first_chunks=None if check == "none" else first_chunks,
                check=check,
                io=self.way,
""",
        """\
                table=None,
                first_chunks=None,
                check="none",
                io=self.way,
""",
        (Test(f"{_CHECKPOINTS}::test_damaged_data_is_found_at_every_checking_level"),),
    ),
    Mutant(
        "mapped tensors are not checked",
        "a flipped bit in a tensor is loaded",
        "storage/safetensors/plain_file.py",
        '        if check != "none" and self.header.table is not None:\n',
        "        if False:\n",
        (Test(f"{_CHECKPOINTS}::test_damaged_data_is_found_at_every_checking_level"),),
    ),
    Mutant(
        "the length of a file is not checked",
        "a file with something behind its end is loaded",
        "storage/safetensors/header.py",
        '        raise BrokenRule("coverage", f"the data area has {data_bytes} bytes, the tensors {end}")\n',
        "        pass\n",
        (Test(_PLAIN_FILES), Test("tests/hostile/test_headers.py"), Test(_CHECKPOINTS)),
    ),
    Mutant(
        "the user's files are not checked by their digest",
        "a flipped bit in a user's file is believed",
        "storage/contents.py",
        "    if digest != info.digest:\n",
        "    if False:\n",
        (Test(f"{_CHECKPOINTS}::test_flipped_bits_in_any_file_are_found"),),
    ),
    Mutant(
        "a file may be that of another checkpoint",
        "a mixture of two checkpoints is loaded",
        "storage/contents.py",
        "    if plain.header.digest != info.digest or plain.file.nbytes != info.nbytes:\n",
        "    if False:\n",
        (Test(f"{_CHECKPOINTS}::test_files_of_two_checkpoints_cannot_be_exchanged"),),
    ),
    Mutant(
        "a checkpoint may lie anywhere",
        "a copy, or an old checkpoint put in a newer one's place, is trusted",
        "storage/scan.py",
        "    if not belongs_at(manifest, origin or path):\n",
        "    if False:\n",
        (Test("tests/unit/storage/test_store.py::test_a_checkpoint_in_the_wrong_place_is_refused"),),
    ),
    Mutant(
        "shards may be missing",
        "half a model is loaded",
        "storage/contents.py",
        "        if sorted(numbers) != [(number, count) for number in range(1, count + 1)]:\n",
        "        if False:\n",
        (Test("tests/crash/test_mutants.py::test_a_manifest_that_names_two_of_three_shards_is_refused"),),
    ),
    Mutant(
        "values change before everything is verified",
        "a damaged checkpoint leaves a model half restored",
        "storage/restore.py",
        """\
        copied = contents.leaves(plan.streamed, check, mmap=True) | contents.leaves(plan.copied, check)
        kept = contents.leaves(plan.kept, check, device=device, mmap=mmap)
        try:
            with span("restore"):
                for action in plan.actions:
                    action.run(copied if action.copies else kept)
""",
        """\
        copied = contents.leaves(plan.streamed, "none", mmap=True) | contents.leaves(plan.copied, "none")
        kept = contents.leaves(plan.kept, "none", device=device, mmap=mmap)
        try:
            for action in plan.actions:
                action.run(copied if action.copies else kept)
            contents.leaves({**plan.streamed, **plan.copied, **plan.kept}, check)
""",
        (Test("tests/unit/storage/test_restore.py::test_damage_in_the_last_file_changes_nothing_in_the_first"),),
    ),
    Mutant(
        "values change before everything fits",
        "a checkpoint that does not fit leaves a model half restored",
        "storage/restore.py",
        "        if strict:\n            report.raise_if_incomplete()\n",
        "",
        (Test("tests/unit/storage/test_restore.py::test_what_does_not_fit_is_named_and_nothing_changes"),),
    ),
)
