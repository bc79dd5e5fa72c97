"""Spoilt files end in a result or in a sentence; `python -m tests.fuzz` tries many more."""

import pytest

from tests import fuzz


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return fuzz.readers(tmp_path_factory.mktemp("valid"))


def test_each_reader_reads_its_valid_file(known, tmp_path):
    for reader in known.values():
        path = tmp_path / f"valid{reader.suffix}"
        path.write_bytes(reader.valid)
        assert reader.read(path) is not None


def test_spoilt_files_end_in_a_result_or_a_sentence():
    ended = fuzz.run(330, seed=7)
    assert sum(sum(counts.values()) for counts in ended.values()) == 330
    for kind, counts in ended.items():
        assert counts["refused"] > 0, kind


@pytest.mark.parametrize("case", [221, 353, 510, 576, 1443, 1734, 1830, 2021, 2146, 2706, 4063, 4525, 4881])
def test_faults_that_once_were_not_understood(known, tmp_path, case):
    """Cut and bent values in DICOM headers, zips of unknown kinds, units and types that do not exist."""
    reader = list(known.values())[case % len(known)]
    path = tmp_path / f"case{reader.suffix}"
    path.write_bytes(fuzz.spoil(reader.valid, fuzz.np.random.default_rng([0, case])))
    with pytest.raises(ValueError, match=r"\w"):
        reader.read(path)
