"""`--where`: a condition on catalog columns, such as `width > 4000 and format == 'JPEG'`."""

import ast
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from ops.archive.layout import ArchiveError
from ops.archive.packs import CATALOG_SCHEMA

_COMPARISONS: dict[type[ast.cmpop], Callable[[pc.Expression, pc.Expression], pc.Expression]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[pc.Expression, pc.Expression], pc.Expression]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    # Arrow divides integers as integers, people do not.
    ast.Div: lambda a, b: a.cast("float64") / b.cast("float64"),
}


# Arrow follows a condition by recursion, and a few ten thousand terms would end the process.
TEXT_LENGTH = 10_000
NODES = 1000
_NUMBERS = tuple(field.name for field in CATALOG_SCHEMA if pa.types.is_integer(field.type))


class WhereError(ArchiveError):
    """A condition cannot be understood."""


def parse_where(text: str) -> pc.Expression:
    """Return a condition in Python's notation as a filter for Arrow tables of catalog rows.

    Comparisons (also chained, `in` and `not in` with a list), `and`, `or`, `not`, arithmetic, column names, numbers and
    strings; nothing else, so that no text can do more than select.
    """
    example = "write for example \"width > 4000 and format == 'JPEG'\""
    if len(text) > TEXT_LENGTH:
        raise WhereError(f"--where of {len(text)} characters; up to {TEXT_LENGTH} are understood: use --match or keys")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        num_nodes = sum(1 for _ in ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deeply"
        raise WhereError(f"--where {text!r:.200}: {why}; {example}") from error
    if num_nodes > NODES:
        raise WhereError(
            f"--where {text!r:.60}... has {num_nodes} terms; up to {NODES} are understood: use --match or keys"
        )
    return _Parser(text).condition(tree)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text

    def _refuse(self, node: ast.AST, why: str) -> WhereError:
        part = ast.get_source_segment(self._text.strip(), node) or self._text
        return WhereError(
            f"--where {self._text!r:.200}: {part!r:.60} {why}; columns are {', '.join(CATALOG_SCHEMA.names)}"
        )

    def condition(self, node: ast.expr) -> pc.Expression:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return self._joined(values, lambda a, b: a & b)
            case ast.BoolOp(op=ast.Or(), values=values):
                return self._joined(values, lambda a, b: a | b)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self.condition(operand)
            case ast.Compare(left=left, ops=operators, comparators=rights):
                links, before = [], left
                for operator, right in zip(operators, rights, strict=True):
                    links.append(self._link(before, operator, right))
                    before = right
                result = links[0]
                for link in links[1:]:
                    result = result & link
                return result
            case _:
                raise self._refuse(node, "is no comparison")

    def _joined(
        self, nodes: list[ast.expr], join: Callable[[pc.Expression, pc.Expression], pc.Expression]
    ) -> pc.Expression:
        result = self.condition(nodes[0])
        for node in nodes[1:]:
            result = join(result, self.condition(node))
        return result

    def _link(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> pc.Expression:
        if isinstance(operator, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple):
                raise self._refuse(right, "is no list")
            if not right.elts:
                raise self._refuse(right, "is empty: name what it may be")
            constants = [self._constant(element) for element in right.elts]
            if len({isinstance(constant, str) for constant in constants}) > 1:
                raise self._refuse(right, "mixes numbers and strings")
            if any(isinstance(constant, float) for constant in constants):
                constants = [float(constant) for constant in constants]
            found = self._value(left).isin(constants)
            return found if isinstance(operator, ast.In) else ~found
        if type(operator) not in _COMPARISONS:
            raise self._refuse(left, "is compared in a way that is not known here")
        return _COMPARISONS[type(operator)](self._value(left), self._value(right))

    def _value(self, node: ast.expr) -> pc.Expression:
        match node:
            case ast.Name(id=name) if name in CATALOG_SCHEMA.names:
                # In 64 bits, a product of two sides does not overflow.
                return pc.field(name).cast("int64") if name in _NUMBERS else pc.field(name)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC:
                return _ARITHMETIC[type(operator)](self._value(left), self._value(right))
            case ast.Name():
                raise self._refuse(node, "is no column of the catalog")
            case _:
                return pc.scalar(self._constant(node))

    def _constant(self, node: ast.expr) -> str | float:
        match node:
            case ast.Constant(value=value) if isinstance(value, str | int | float) and not isinstance(value, bool):
                return self._within_arrow(node, value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if isinstance(value, int | float):
                return self._within_arrow(node, -value)
            case _:
                raise self._refuse(node, "is neither a number nor a string in quotes")

    def _within_arrow(self, node: ast.expr, value: str | float) -> str | float:
        # Beyond 64 bits a number is only compared, which a double can.
        try:
            return float(value) if isinstance(value, int) and abs(value) >= 2**63 else value
        except OverflowError as error:
            raise self._refuse(node, "is too large a number") from error
