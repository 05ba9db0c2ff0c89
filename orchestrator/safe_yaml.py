"""YAML from anybody: plain values only, in bounded time and memory, or one `NotYaml` that says why.

Limits are far above what a configuration needs. Must not know what the values mean.
"""

from __future__ import annotations

from typing import Any, NoReturn

import yaml

MAX_BYTES = 256 * 2**10  # of text; PyYAML reads about 50 KB a second at worst
MAX_WRITTEN_OUT = 2**20  # characters, once every alias and merge is replaced by what it stands for
MAX_BITS = 10_000  # of a whole number; Python does not write out one of more than 4300 digits

_MAY_BE_RAISED = (yaml.YAMLError, ValueError, TypeError, AttributeError)  # by PyYAML, on one text or another


class NotYaml(ValueError):
    """A text is no YAML that can be used; the message says what was found."""


def load(text: str) -> Any:
    """The value of a YAML document: mappings, lists and scalars; parts may be shared, but none holds itself.

    Raises:
        NotYaml: it is no YAML, has a tag that is no plain value's, a key twice, or exceeds a limit.
    """
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise NotYaml(f"{size} bytes of YAML, at most {MAX_BYTES} are read")
    try:
        return yaml.load(text, _Loader)
    except RecursionError as error:
        raise NotYaml("lists or sections stand too deep inside each other") from error
    except _MAY_BE_RAISED as error:
        raise NotYaml(str(error)) from error


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice in a mapping is an error, not the last one's gain."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _written_out(node, {}) > MAX_WRITTEN_OUT:
            raise NotYaml(f"with its aliases (*name) written out it has more than {MAX_WRITTEN_OUT} characters")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    problem = f"the key {key.value[:80]!r} stands twice in one section"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node)
        if value.bit_length() > MAX_BITS:
            raise NotYaml(f"a whole number of {value.bit_length()} bits, at most {MAX_BITS} are read")
        return value

    def construct_set(self, node: yaml.Node) -> NoReturn:
        raise yaml.constructor.ConstructorError(None, None, "a set (!!set) has no order, write a list", node.start_mark)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:set", _Loader.construct_set)


def _written_out(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """Characters of a node where it shares nothing; `sizes` are those of nodes by id, None of one that holds this one."""
    known = sizes.get(id(node), 0)
    if known is None:
        raise NotYaml("a part that holds itself, by an alias (*name) of what it stands in")
    if known:
        return known
    sizes[id(node)] = None
    if isinstance(node, yaml.ScalarNode):
        size = 1 + len(node.value)
    elif isinstance(node, yaml.MappingNode):
        size = 1 + sum(_written_out(one, sizes) for pair in node.value for one in pair)
    else:
        size = 1 + sum(_written_out(one, sizes) for one in node.value)
    sizes[id(node)] = size
    return size
