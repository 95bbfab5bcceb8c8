"""A scenario back as the text of a file, such that reading it gives an equal scenario."""

from __future__ import annotations

import re

import yaml
from yaml.nodes import ScalarNode

from testbed.scenario.model import Scenario, dump_scenario
from testbed.scenario.yaml12 import CORE


class _Dumper(yaml.SafeDumper):
    """Writes strings so that YAML 1.2 and 1.1 read them alike, and long ones on one line."""


def _text(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    # Double quotes have an escape for everything; line breaks of YAML 1.1 alone would else stand there as they are.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)
for _pattern, _tag, _meaning in CORE:  # what 1.2 takes for a number and 1.1 for text gets quotes too
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern.pattern})\Z"), None)


def write_scenario(scenario: Scenario) -> str:
    """The scenario as YAML, defaults left out."""
    return yaml.dump(
        dump_scenario(scenario),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=4096,
        default_flow_style=None,
    )
