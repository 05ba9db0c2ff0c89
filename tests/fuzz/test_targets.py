"""What `make fuzz` feeds takes good inputs, and bad ones too, so a finding of it is one."""

from __future__ import annotations

import pytest
from atheris_parsers import TARGETS
from hostile import mutated_bytes, tries
from hypothesis import given
from hypothesis import strategies as st


@tries(30)
@given(data=st.data())
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds_and_what_becomes_of_them(name: str, data: st.DataObject):
    seed = data.draw(st.sampled_from(TARGETS[name].seeds))
    TARGETS[name].take(seed)
    TARGETS[name].take(data.draw(mutated_bytes(seed)))
