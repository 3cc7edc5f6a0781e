"""YAML as people write it: `2:4` is text and no number of seconds, and a key given twice is an error."""

from __future__ import annotations

import re
from typing import Any

import yaml

_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$"),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9_]+(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
    ),
}
"""What YAML 1.1 takes for numbers, without those to the base of 60"""


class PlainLoader(yaml.SafeLoader):
    """A safe loader without YAML 1.1's surprises."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; raises `yaml.constructor.ConstructorError` for a key given twice."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            names = [str(getattr(key, "value", "")) for key, _ in node.value]
            twice = next((name for name in names if names.count(name) > 1), "")
            raise yaml.constructor.ConstructorError(None, None, f"the key `{twice}` is given twice", node.start_mark)
        return mapping


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in resolvers]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(text: str) -> Any:
    """Return the value that a YAML text is; raises `yaml.YAMLError`."""
    return yaml.load(text, PlainLoader)
