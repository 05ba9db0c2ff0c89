"""Any text is the code of a network, which reads back, or a GenotypeError; so is any amount a number or a ValueError."""

from __future__ import annotations

import contextlib
import math

import pytest
from hostile import ODD_NUMBERS, ODD_TEXTS, VALUES, tries
from hypothesis import given
from hypothesis import strategies as st

from lineage.architecture import MAX_BLOCKS, Genotype, GenotypeError
from orchestrator.quantities import count, memory_bytes, milliseconds

CODES = ["b_11-21-21-21_0-0-0-0", "r_111-2111-211111-211_0-0-0-0", "x(32x4d)_11-21_1-0", "b_1_0", "b_2_9"]
ALPHABET = "brx()0123456789-_d٣１²\n "
NEAR = st.one_of(
    st.text(ALPHABET, max_size=40),
    st.builds(
        lambda code, at, old, new: code[:at] + new + code[at + old :],
        st.sampled_from(CODES),
        st.integers(0, 30),
        st.integers(0, 3),
        st.text(ALPHABET, max_size=4) | st.sampled_from(["9" * 5000, "1" * 300, "-1" * 200, "\0"]),
    ),
    st.from_regex(r"(b|r|x\([1-9]\d{0,5}x[1-9]\d{0,5}d\))_[12-]{1,250}_[\d-]{1,20}", fullmatch=True),
)


@tries(1000)
@given(st.text(max_size=60) | st.sampled_from(ODD_TEXTS) | NEAR)
def test_any_text_is_a_network_or_a_genotype_error(code: str):
    try:
        genotype = Genotype.parse(code)
    except GenotypeError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert genotype.code == code
        assert Genotype.parse(genotype.code) == genotype
        assert 0 < genotype.depth <= MAX_BLOCKS
        assert all(0 < channels < 2**40 for channels in genotype.stage_channels(1024))
    assert len(refusal) < 700


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "code",
    ["b_" + "1" * 10**6 + "_0", "b_1_" + "0-" * 10**6, "x(" + "9" * 10**6 + "x4d)_1_0", "b_" + "-" * 10**6 + "_0"],
    ids=lambda code: code[:5],
)
def test_a_text_of_a_megabyte_is_refused_at_once_and_in_few_words(code: str):
    with pytest.raises(GenotypeError) as caught:
        Genotype.parse(code)
    assert len(str(caught.value)) < 700


@tries(400)
@given(VALUES | st.sampled_from(ODD_NUMBERS) | st.text("0123456789.eE+-kMGTiBmus ٣１", max_size=45))
def test_any_amount_is_a_number_the_log_can_hold_or_a_value_error(value: object):
    for read in (count, memory_bytes, milliseconds):
        with contextlib.suppress(ValueError):
            amount = read(value)
            assert amount is None or (0 <= amount <= 2**63 and math.isfinite(amount))
