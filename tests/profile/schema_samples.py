"""A small schema with everything that a type can be, in both styles of unions."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from qmpd.qapi.compiler.entities import Schema
from qmpd.qapi.compiler.schema import compile_schema
from qmpd.qapi.outputs.table import types_text
from qmpd.qapi.runtime.arguments import Reader
from qmpd.qapi.runtime.type_table import TypeTable

MODERN = """
{ 'enum': 'Kind', 'data': [ 'plain', 'nested', 'bare',
                            { 'name': 'old', 'features': [ 'deprecated' ] } ] }
{ 'enum': 'Depth', 'data': [ 'one', 'two' ] }
{ 'struct': 'Plain', 'data': { '*size': 'size', '*class': 'str', '*next': 'Plain' } }
{ 'struct': 'Top', 'data': { 'name': 'str' } }
{ 'struct': 'Derived', 'base': 'Top',
  'data': { '*u8': 'uint8', '*i8': 'int8', '*u64': 'uint64', '*list': ['Plain'],
            '*number': 'number', '*anything': 'any', '*nothing': 'null',
            '*x-new': { 'type': 'Plain', 'features': [ 'unstable' ] },
            '*bare-list': ['uint16'] } }
{ 'struct': 'One', 'data': { 'first': 'int' } }
{ 'struct': 'Two', 'data': { 'second': 'int' } }
{ 'union': 'Nested', 'base': { 'depth': 'Depth' }, 'discriminator': 'depth',
  'data': { 'one': 'One', 'two': 'Two' } }
{ 'union': 'Options', 'base': { 'kind': 'Kind', '*node-name': 'str' }, 'discriminator': 'kind',
  'data': { 'plain': 'Plain', 'nested': 'Nested', 'old': 'Plain' } }
{ 'alternate': 'Ref', 'data': { 'definition': 'Options', 'reference': 'str',
                                'nothing': 'null' } }
{ 'alternate': 'Scalar', 'data': { 'number': 'int', 'flag': 'bool' } }
{ 'alternate': 'KindOrOptions', 'data': { 'kind': 'Kind', 'options': 'Options' } }
{ 'command': 'do-things', 'boxed': true, 'data': 'Options' }
{ 'command': 'do-more', 'data': { 'ref': 'Ref', '*either': 'KindOrOptions',
                                 '*scalar': 'Scalar' },
  'returns': ['Derived'] }
{ 'command': 'do-nothing', 'allow-oob': true, 'features': [ 'unstable' ] }
{ 'command': 'do-freely', 'gen': false, 'data': { 'id': 'str' } }
{ 'event': 'DONE', 'data': { 'derived': 'Derived' } }
{ 'event': 'NOTHING' }
"""

WRAPPED = """
{ 'struct': 'Inner', 'data': { 'value': 'int' } }
{ 'enum': 'OuterKind', 'data': [ 'inner', 'text' ] }
{ 'struct': 'InnerWrapper', 'data': { 'data': 'Inner' } }
{ 'struct': 'TextWrapper', 'data': { 'data': 'str' } }
{ 'union': 'Outer', 'base': { 'type': 'OuterKind' }, 'discriminator': 'type',
  'data': { 'inner': 'InnerWrapper', 'text': 'TextWrapper' } }
{ 'command': 'wrap', 'data': { 'outer': ['Outer'] } }
"""

HISTORIC = """
{ 'struct': 'Inner', 'data': { 'value': 'int' } }
{ 'union': 'Outer', 'data': { 'inner': 'Inner', 'text': 'str' } }
{ 'command': 'wrap', 'data': { 'outer': ['Outer'] } }
"""


@cache
def compiled(text: str) -> Schema:
    """The schema with the definitions `text`."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "sample.json"
        path.write_text(text, encoding="utf-8")
        return compile_schema(path)


@cache
def table(text: str) -> TypeTable:
    """Its type table."""
    return TypeTable(json.loads(types_text(compiled(text))))


@cache
def reader(text: str) -> Reader:
    """What reads values of its types."""
    return Reader(table(text), "sample_models")
