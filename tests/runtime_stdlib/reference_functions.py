"""The functions of the reference document's tables: names, how many arguments, capabilities. Transcribed by hand from
sections 7 and 8, so that a name, an arity or a capability that is lost is noticed.
"""

from __future__ import annotations

# (names separated by blanks, arguments "1", "1-2", "2+" or "*", capabilities separated by blanks)
Row = tuple[str, str, str]

READ, TRANSFORM, COMPOSE = "collections.read", "collections.transform", "functional.compose"
FUNCTIONAL, MATCH, CREATE = "functional.transform", "regex.match", "datetime.create"

MODULES: dict[str, list[Row]] = {
    "console": [("log info debug", "*", "console.write"), ("error warn", "*", "console.error")],
    "math": [
        ("sqrt abs sin cos tan asin acos atan ln exp floor ceil round", "1", "math.compute"),
        ("degToRad radians radToDeg degrees sign factorial", "1", "math.compute"),
        ("atan2 pow min max gcd lcm", "2", "math.compute"),
        ("log", "1-2", "math.compute"),
        ("random", "0", "math.compute"),
    ],
    "json": [
        ("parse validate", "1", "json.parse"),
        ("safeParse", "1-2", "json.parse"),
        ("stringify", "1", "json.serialize"),
        ("prettyPrint", "1-2", "json.serialize"),
        ("isObject isArray isString isNumber isBoolean isNull keys values", "1", ""),
        ("hasKey merge", "2", ""),
        ("get", "2-3", ""),
    ],
    "collections": [
        ("length first last isEmpty is_empty", "1", READ),
        ("get contains indexOf index_of find every some", "2", READ),
        ("append prepend concat take drop filter map removeAt remove_at zip chunk", "2", TRANSFORM),
        ("reverse unique flatten", "1", TRANSFORM),
        ("slice sortBy", "2-3", TRANSFORM),
        ("reduce", "3", TRANSFORM),
        ("sort", "1-2", TRANSFORM),
    ],
    "functional": [
        ("map filter find some every forEach for_each take drop takeWhile chunk partition", "2", FUNCTIONAL),
        ("groupBy group_by times", "2", FUNCTIONAL),
        ("reduce", "2-3", FUNCTIONAL),
        ("zip", "*", FUNCTIONAL),
        ("zipWith", "3", FUNCTIONAL),
        ("flatten reverse unique", "1", FUNCTIONAL),
        ("range", "1-3", ""),
        ("repeat", "2", ""),
        ("identity", "1", ""),
        ("compose pipe", "*", COMPOSE),
        ("composeAll pipeAll curry2 constant memoize cond juxt", "1", COMPOSE),
        ("curry", "1-2", COMPOSE),
        ("partial partial_apply", "1+", COMPOSE),
        ("ifElse", "3", COMPOSE),
    ],
    "regex": [
        ("search match fullmatch findall finditer test count", "2-3", MATCH),
        ("split", "2-4", MATCH),
        ("sub subn", "3-5", MATCH),
        ("escape isValid", "1", ""),
        ("IGNORECASE MULTILINE DOTALL VERBOSE ASCII UNICODE", "0", ""),
        ("compile", "1-2", "regex.compile"),
    ],
    "datetime": [
        ("now", "0-1", "datetime.now"),
        ("today", "0", "datetime.now"),
        ("create", "3-6", CREATE),
        ("createDate", "3", CREATE),
        ("createTime createDelta", "0-4", CREATE),
        ("fromTimestamp from_timestamp parseISO", "1", CREATE),
        ("calculateAge calculate_age", "1-2", CREATE),
        ("addBusinessDays add_business_days", "2", CREATE),
        ("createTimeZone", "1-3", CREATE),
        ("daysInMonth days_in_month businessDaysBetween business_days_between", "2", ""),
        ("isWeekend is_weekend isWeekday is_weekday isLeapYear", "1", ""),
        ("utc", "0", ""),
    ],
    "random": [
        ("setSeed set_seed randomBoolWeighted", "1", "random.generate"),
        ("getSeed get_seed nextInt next_int random randomBool random_bool", "0", "random.generate"),
        ("randomFloat random_float randomInt random_int randomNormal random_normal gaussian", "0-2", "random.generate"),
        ("uniform", "2", "random.generate"),
        ("triangular", "2-3", "random.generate"),
        ("choice shuffle", "1", "random.sample"),
        ("sample randomIndices random_indices", "2", "random.sample"),
    ],
    "file": [
        ("read readLines", "1-2", "file.read"),
        ("readBytes", "1", "file.read"),
        ("write writeLines", "2-3", "file.write"),
        ("writeBytes", "2", "file.write"),
        ("append", "2-3", "file.append"),
        ("delete", "1", "file.delete"),
        ("copy", "2", "file.read file.write"),
        ("move", "2", "file.read file.write file.delete"),
        ("exists isFile isDirectory size modifiedTime", "1", ""),
    ],
    "path": [
        ("join", "*", ""),
        ("dirname basename extname split absolute normalize exists isFile isDirectory isAbsolute", "1", ""),
        ("relative", "2", ""),
        ("cwd home tempDir separator delimiter", "0", ""),
        ("listDir", "0-1", "path.read"),
        ("glob", "1", "path.read"),
        ("walk", "1-2", "path.read"),
        ("createDir", "1-2", "path.write"),
        ("removeDir removeDirRecursive", "1", "path.write"),
    ],
    "http": [
        ("get delete head", "1-3", "network.http"),
        ("post put patch", "1-2", "network.http"),
        ("request", "1", "network.http"),
        ("encodeURI decodeURI encodeQuery parseQuery", "1", ""),
    ],
    "crypto": [
        ("sha256 sha1 md5 uuid_from_string", "1-2", "crypto.hash"),
        ("hmac", "2-3", "crypto.hash"),
        ("verify_hmac", "3-4", "crypto.hash"),
        ("compare_hash", "2", "crypto.hash"),
        ("hash_file", "1-2", "crypto.hash file.read"),
        ("uuid random_float", "0", "crypto.random"),
        ("random_bytes random_hex random_string", "1", "crypto.random"),
        ("random_int", "2", "crypto.random"),
    ],
    "csv": [
        ("read", "1-4", "file.read"),
        ("write", "2-5", "file.write"),
        ("read_string", "1-3", "file.read"),
        ("write_string", "1-3", ""),
        ("count_rows", "1-4", "file.read"),
        ("get_headers", "1-3", "file.read"),
        ("append", "2-4", "file.read file.write"),
    ],
    "env": [
        ("get get_int get_bool get_float", "1-2", "env.read"),
        ("require has", "1", "env.read"),
        ("all", "0", "env.read"),
        ("set", "2", "env.write"),
        ("delete", "1", "env.write"),
    ],
    "args": [("all script rest", "0", "args.read"), ("create_parser", "0-2", "")],
    "log": [
        ("debug info warn error critical", "1-2", "log.write"),
        ("set_level set_format set_timestamp", "1", "log.write"),
        ("add_file", "1", "log.write file.write"),
        ("is_debug", "0", ""),
        ("create_logger", "1", ""),
    ],
}

# The counts that the headings of section 8 give: math's without its two constants.
COUNTS = {
    "console": 5, "math": 27, "json": 16, "collections": 30, "functional": 37, "regex": 19, "datetime": 24, "random": 24,
    "file": 15, "path": 23, "http": 11, "crypto": 14, "csv": 7, "env": 9, "args": 4, "log": 11,
}  # fmt: skip

BUILTINS: list[Row] = [
    ("print min max zip", "*", ""),
    ("input", "0-1", ""),
    ("str int float bool typeof len reversed keys values abs all any callable chr ord hex bin oct repr iter", "1", ""),
    ("help methods has_module module_info hasCapability getCapabilityInfo requiredCapabilities", "1", ""),
    ("isinstance format hasattr", "2", ""),
    ("range", "1-3", ""),
    ("enumerate sorted sum round next", "1-2", ""),
    ("call", "1+", ""),
    ("getattr", "2-3", ""),
    ("modules getCapabilities", "0", ""),
    ("available_modules", "0-1", ""),
]


def bounds(arguments: str) -> tuple[int, int | None]:
    """The least and the most arguments of a row; None for any number."""
    if arguments == "*":
        return 0, None
    if arguments.endswith("+"):
        return int(arguments[:-1]), None
    least, _, most = arguments.partition("-")
    return int(least), int(most or least)
