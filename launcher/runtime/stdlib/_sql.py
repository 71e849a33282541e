"""SQL statements judged before they run: which operations, on which tables. Pure.

The statement that is sent is written out again from the tree that was judged, so that the parser here and the server
cannot read one text in two ways. What the parser does not know, and functions that are not in the list, are refused:
PostgreSQL has functions that read files, run SQL given as text, or end other sessions.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sqlglot import exp

# Functions that sqlglot has no class for, by what they do: text, numbers, time, arrays, JSON, windows, sequences.
# All of them work on their arguments alone.
FUNCTIONS = frozenset(
    """
    ascii bit_length btrim char_length character_length chr concat_ws convert_from decode encode format initcap
    left lpad ltrim md5 octet_length overlay quote_ident quote_literal quote_nullable regexp_count regexp_match
    regexp_matches regexp_split_to_array regexp_split_to_table reverse right rpad rtrim split_part starts_with
    string_to_array string_to_table strpos to_hex translate cbrt ceil ceiling degrees div gcd lcm log log10 mod
    pi power radians random round sign sqrt trunc width_bucket acos asin atan atan2 cos cot sin tan age
    clock_timestamp date_bin date_part date_trunc extract isfinite justify_days justify_hours make_date
    make_interval make_time make_timestamp make_timestamptz now statement_timestamp timeofday to_char to_date
    to_number to_timestamp transaction_timestamp array_append array_cat array_dims array_fill array_length
    array_lower array_ndims array_position array_positions array_prepend array_remove array_replace
    array_to_string array_upper cardinality unnest array_to_json json_array_elements json_array_elements_text
    json_array_length json_build_array json_build_object json_each json_each_text json_extract_path
    json_extract_path_text json_object json_object_keys json_strip_nulls json_typeof jsonb_array_elements
    jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text
    jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_keys jsonb_path_exists
    jsonb_path_query jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_typeof row_to_json to_json to_jsonb bool_and
    bool_or every json_agg json_object_agg jsonb_agg jsonb_object_agg string_agg cume_dist dense_rank
    first_value lag last_value lead nth_value ntile percent_rank rank row_number currval lastval nextval
    generate_series generate_subscripts num_nulls num_nonnulls gen_random_uuid
    """.split()  # noqa: SIM905  a word list
)
# What may be created: things without a body that runs later and was not judged.
CREATABLE = frozenset(("TABLE", "INDEX", "VIEW", "SCHEMA", "SEQUENCE"))


class Statement:
    """One judged statement: `needs` are (operation, table) with "" for no table, `text` is what to send.

    `names` are the parameters by name in the order of their numbers; empty where they are by place, `count` of them.
    """

    __slots__ = ("count", "names", "needs", "text")

    def __init__(self, text: str, needs: list[tuple[str, str]], names: list[str], count: int) -> None:
        self.text = text
        self.needs = needs
        self.names = names
        self.count = count


def judge(sql: str) -> Statement:
    """What `sql`, one PostgreSQL statement, would do. Raises ValueError for what cannot be judged."""
    tree = _parsed(sql)
    needs = _needs(tree)
    _check_functions(tree)
    names, count = _number_parameters(tree)
    return Statement(tree.sql(dialect="postgres", comments=False), needs, names, count)


def _parsed(sql: str) -> exp.Expr:
    import logging

    import sqlglot
    from sqlglot.errors import SqlglotError

    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it warns on standard error, which is the program's
    try:
        trees: list[Any] = [tree for tree in sqlglot.parse(sql, read="postgres") if tree is not None]
    except (SqlglotError, RecursionError) as error:
        raise ValueError(f"SQL error: {str(error).partition(chr(10))[0]}") from None
    if len(trees) != 1:
        raise ValueError(f"SQL error: one statement at a time, not {len(trees)}")
    tree: exp.Expr = trees[0]
    return tree


def _needs(tree: exp.Expr) -> list[tuple[str, str]]:
    """(operation, table) of everything in the statement, also in its subqueries and common table expressions."""
    from sqlglot import exp

    if not isinstance(tree, (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter,
                             exp.TruncateTable, exp.Values)):  # fmt: skip
        raise ValueError(f"SQL error: {tree.key.upper()} statements are not available")  # noqa: TRY004  the program's SQL
    needs: set[tuple[str, str]] = set()
    written: set[int] = set()
    for node in tree.walk():
        operations = _operations(node)
        for target in _targets(node) if operations else ():
            written.add(id(target))
            needs.update((operation, _name(target)) for operation in operations)
    for table in tree.find_all(exp.Table):
        if id(table) not in written and not isinstance(table.this, exp.Func) and not _is_local(table):
            needs.add(("select", _name(table)))
    return sorted(needs or {("select", "")})


def _operations(node: exp.Expr) -> tuple[str, ...]:
    """What a node does to its target tables; nothing for a node that only reads."""
    from sqlglot import exp

    if isinstance(node, exp.Insert):
        conflict = node.args.get("conflict")
        return ("insert", "update") if conflict and "UPDATE" in str(conflict.args.get("action", "")) else ("insert",)
    if isinstance(node, exp.Create) and str(node.args.get("kind", "")).upper() not in CREATABLE:
        raise ValueError(f"SQL error: CREATE {node.args.get('kind')} is not available: it would act later, unjudged")
    if isinstance(node.parent, exp.When):  # a branch of MERGE, which needs all three
        return ()
    return {"merge": ("insert", "update", "delete"), "update": ("update",), "delete": ("delete",)}.get(
        node.key, ("ddl",) if isinstance(node, (exp.Create, exp.Drop, exp.Alter, exp.TruncateTable, exp.Into)) else ()
    )


def _targets(node: exp.Expr) -> list[Any]:
    """The tables that a node writes; [None] where it writes something without a table."""
    from sqlglot import exp

    if isinstance(node, (exp.Drop, exp.TruncateTable)):
        return list(node.find_all(exp.Table)) or [None]
    found: Any = node.this.this if isinstance(node.this, exp.Schema) else node.this
    if isinstance(found, exp.Index):
        found = found.args.get("table")
    return [found if isinstance(found, exp.Table) else None]


def _is_local(table: exp.Table) -> bool:
    """Whether the name is a common table expression here. `WITH t AS (SELECT * FROM t)` reads the real `t`."""
    from sqlglot import exp

    node: exp.Expr | None = table
    while node is not None and not table.db:
        parent = node.parent
        if isinstance(parent, exp.With):
            before = next(i for i, cte in enumerate(parent.expressions) if cte is node)
            visible = parent.expressions if parent.recursive else parent.expressions[:before]
        else:
            clause = parent.args.get("with_") if parent is not None else None
            visible = clause.expressions if clause is not None and clause is not node else []
        if any(cte.alias_or_name.lower() == table.name.lower() for cte in visible):
            return True
        node = parent
    return False


def _name(table: exp.Expr | None) -> str:
    """`schema.table` as the server folds it, without the schema that is searched anyway."""
    from sqlglot import exp

    if not isinstance(table, exp.Table):
        return ""
    parts = [part.name if part.args.get("quoted") else part.name.lower() for part in table.parts]
    return ".".join(parts[1:] if parts[:1] == ["public"] and len(parts) > 1 else parts)


def _check_functions(tree: exp.Expr) -> None:
    from sqlglot import exp

    for call in tree.find_all(exp.Anonymous):
        if isinstance(call.parent, exp.Dot) or call.name.lower() not in FUNCTIONS:
            raise ValueError(f"SQL error: function {call.name}() is not available: what it does is not known")
    for dot in tree.find_all(exp.Dot):
        if isinstance(dot.expression, exp.Func):
            raise ValueError("SQL error: functions with a schema are not available")  # noqa: TRY004  the program's SQL
    if next(iter(tree.find_all(exp.Command)), None) is not None:
        raise ValueError("SQL error: a part of the statement is not known")


def _number_parameters(tree: exp.Expr) -> tuple[list[str], int]:
    """Turns `?` and `:name` into `$1`, `$2`, ...: the names in order, and how many there are by place."""
    from sqlglot import exp

    names: list[str] = []
    count = 0
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter, bfs=False)):
        if isinstance(node, exp.Parameter):
            count = max(count, int(node.name) if node.name.isdecimal() else 0)
            continue
        name = "" if node.name == "?" else node.name
        if name:
            if name not in names:
                names.append(name)
            number = names.index(name) + 1
        else:
            count += 1
            number = count
        node.replace(exp.Parameter(this=exp.Literal.number(number)))
    if names and count:
        raise ValueError("SQL error: parameters by name and by place cannot be mixed")
    return names, count
