"""The search engine of the local run answers as OpenSearch does (M5, L1)."""

import json
import threading

import pytest

from local.search import Engine, wanted


class Client:
    """Requests to an engine of its own; what is no text is sent as JSON."""

    def __init__(self):
        self.engine = Engine()

    def __call__(self, method, path, body=None):
        path, _, query = path.partition("?")
        text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
        status, self.headers, self.text = self.engine.handle(method, path, query, text.encode())
        return status, json.loads(self.text) if self.text else None

    def ok(self, method, path, body=None):
        status, answer = self(method, path, body)
        assert status in (200, 201), answer
        return answer

    def refused(self, method, path, body=None):
        """Type and reason of the error, the cause's reason behind it."""
        status, answer = self(method, path, body)
        assert status == answer["status"] >= 400
        error = answer["error"]
        assert error["root_cause"][0]["type"] == error["type"]
        return error["type"], " / ".join([error["reason"], *([error["caused_by"]["reason"]] if "caused_by" in error else [])])

    def index(self, *documents, name="logs", **mappings):
        if mappings:
            self.ok("PUT", f"/{name}", {"mappings": mappings})
        for document in documents:
            self.ok("POST", f"/{name}/_doc", document)

    def properties(self, name="logs"):
        return self.ok("GET", f"/{name}/_mapping")[name]["mappings"].get("properties", {})

    def hits(self, query=None, name="logs", **search):
        search = {"query": query, **search} if query else search
        return self.ok("POST", f"/{name}/_search", search)["hits"]["hits"]

    def ids(self, query=None, **search):
        """The `id` of each hit."""
        return [hit["_source"]["id"] for hit in self.hits(query, **search)]

    def aggregate(self, given, name="logs"):
        return self.ok("POST", f"/{name}/_search", {"size": 0, "aggs": {"it": given}})["aggregations"]["it"]


@pytest.fixture
def api():
    return Client()


# --- indexes ---------------------------------------------------------------------------------------------------------------


def test_an_index_is_made_described_and_removed(api):
    body = {"settings": {"index": {"mapping": {"total_fields": {"limit": 5}}}},
            "mappings": {"properties": {"a": {"type": "long"}}}}
    assert api.ok("PUT", "/logs", body) == {"acknowledged": True, "shards_acknowledged": True, "index": "logs"}
    assert api("HEAD", "/logs") == (200, None)
    shown = api.ok("GET", "/logs")["logs"]
    assert shown["mappings"] == body["mappings"]
    assert shown["settings"] == {"index": {"mapping": {"total_fields": {"limit": "5"}}}}
    assert [each["index"] for each in api.ok("GET", "/_cat/indices?format=json")] == ["logs"]
    api.ok("DELETE", "/logs")
    assert api("HEAD", "/logs") == (404, None)


def test_an_index_is_made_once(api):
    api.ok("PUT", "/logs")
    assert api.refused("PUT", "/logs")[0] == "resource_already_exists_exception"


@pytest.mark.parametrize("name", ["Logs", "-logs", "+logs", "a%20b", "a%3Ab", "a%23", "..", "x" * 256])
def test_bad_names(api, name):
    assert api.refused("PUT", f"/{name}")[0] == "invalid_index_name_exception"
    assert api("POST", f"/{name}/_doc", {})[0] == 400


@pytest.mark.parametrize("method, path", [
    ("GET", "/logs"), ("DELETE", "/logs"), ("GET", "/logs/_mapping"), ("PUT", "/logs/_mapping"), ("POST", "/logs/_search"),
    ("GET", "/logs/_count"), ("POST", "/a*,logs/_search"),
])
def test_a_missing_index(api, method, path):
    assert api.refused(method, path, {}) == ("index_not_found_exception", "no such index [logs]")


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/_cluster/health", 400), ("PUT", "/_index_template/x", 400), ("GET", "/logs/_settings", 400),
    ("GET", "/logs/_doc/1", 400), ("PATCH", "/logs", 405), ("DELETE", "/logs/_doc", 405), ("PUT", "/logs/_search", 405),
    ("POST", "/logs/_search?scroll=1m", 400), ("POST", "/logs/_doc?routing=x", 400),
])
def test_what_is_unknown_is_refused_with_a_hint(api, method, path, status):
    api.ok("PUT", "/logs")
    assert api(method, path, {})[0] == status
    assert "OPENSEARCH_URL" in api.refused(method, path, {})[1]


def test_nobody_can_force_a_refresh(api):
    assert api.refused("POST", "/logs/_doc?refresh=true", {})[1] == "true refresh policy is not supported."
    assert api("POST", "/logs/_doc?refresh=false", {})[0] == 201


@pytest.mark.parametrize("body, says", [
    ({"mappings": {"properties": {"a": {"type": "geo_shape"}}}}, "No handler for type [geo_shape] declared on field [a]"),
    ({"mappings": {"properties": {"a": {"type": "boolean", "ignore_malformed": True}}}},
     "unknown parameter [ignore_malformed] on mapper [a] of type [boolean]"),
    ({"mappings": {"properties": {"a": {}}}}, "No type specified for field [a]"),
    ({"mappings": {"properties": {"a": {"type": "date", "format": "dd.MM.yyyy"}}}}, "Invalid format: [dd.MM.yyyy]"),
    ({"mappings": {"propertys": {}}}, "Root mapping definition has unsupported parameters:  [propertys"),
    ({"settings": {"index.mapping.total_field.limit": 1}}, "unknown setting [index.mapping.total_field.limit]"),
    ({"setting": {}}, "unknown key [setting] for create index"),
    ("{", "Failed to parse content to map"),
    ("[]", "request body must be a JSON object"),
])
def test_definitions_that_nobody_understands(api, body, says):
    assert says in api.refused("PUT", "/logs", body)[1]
    assert api("HEAD", "/logs")[0] == 404


def test_a_mapping_grows_but_no_type_changes(api):
    api.index(properties={"a": {"type": "long"}})
    api.ok("PUT", "/logs/_mapping", {"properties": {"b.c": {"type": "keyword"}}, "dynamic": False})
    assert api.properties() == {"a": {"type": "long"}, "b": {"properties": {"c": {"type": "keyword"}}}}
    for other, says in (({"a": {"type": "text"}}, "mapper [a] cannot be changed from type [long] to [text]"),
                        ({"a": {"properties": {}}}, "can't merge a non object mapping [a] with an object mapping")):
        assert api.refused("PUT", "/logs/_mapping", {"properties": {"new": {"type": "text"}, **other}})[1] == says
    assert "new" not in api.properties()


# --- documents -------------------------------------------------------------------------------------------------------------


def test_a_document_makes_its_index_and_can_be_found_at_once(api):
    stored = api.ok("POST", "/logs/_doc", {"a": 1})
    assert (stored["_index"], stored["result"]) == ("logs", "created")
    [hit] = api.hits()
    assert hit == {"_index": "logs", "_id": stored["_id"], "_score": 1.0, "_source": {"a": 1}}
    assert api.ok("POST", "/logs/_doc", {"a": 1})["_id"] != stored["_id"]


NUMBERS = ('{"a":9007199254740993, "b" :0.1000000000000000055,"c":1E400,"d":123456789012345678901234567890,"e":[1.50,-0.0],'
           '"f":"\\u00fc\\ud800"}')


def test_the_source_stays_as_it_was_character_for_character(api):
    api.index(NUMBERS, dynamic=False)
    api.hits()
    assert f'"_source":{NUMBERS}' in api.text.decode()


def test_parts_of_the_source_keep_their_numbers(api):
    api.index(NUMBERS, '{"o":{"a":1.10,"b":[{"c":2.0,"d":3}]}}', dynamic=False)
    api.hits(_source=["a", "e", "c"])
    assert '"_source":{"a":9007199254740993,"c":1E400,"e":[1.50,-0.0]}' in api.text.decode()
    api.hits(_source={"includes": ["o.*"], "excludes": ["o.b.d"]})
    assert '"_source":{"o":{"a":1.10,"b":[{"c":2.0}]}}' in api.text.decode()
    api.ok("GET", "/logs/_search?_source=o.a")
    assert '"_source":{"o":{"a":1.10}}' in api.text.decode()
    assert "_source" not in api.hits(_source=False)[0]


@pytest.mark.parametrize("source, says", [
    ('{"a":1,"a":2}', "Duplicate field 'a'"),
    ('{"o":{"a":1,"a":2}}', "Duplicate field 'a'"),
    ('{"a":NaN}', "Non-standard token 'NaN'"),
    ('{"a":-Infinity}', "Non-standard token '-Infinity'"),
    ('{"a":1} {"b":2}', "Extra data"),
    ('{"a":1', "Expecting"),
    ("{'a':1}", "Expecting"),
    ('{"a":"\n"}', "Invalid control character"),
    ("[1]", "Malformed content, must start with an object"),
    ('{"a":' + "1" * 1001 + "}", "Number value length (1001) exceeds the maximum allowed (1000)"),
    ('{"a":' + "[" * 5000 + "]" * 5000 + "}", "nesting depth"),
    ('{"":1}', "field name cannot be an empty string"),
    ('{"o":{"":1}}', "field name cannot be an empty string"),
    ('{"a..b":1}', "starting or ending with a [.] makes object resolution ambiguous: [a..b]"),
    ('{".":1}', "field name cannot contain only dots"),
    ('{"a. ":1}', "object field cannot contain only whitespace"),
    ('{"_id":1}', "Field [_id] is a metadata field and cannot be added inside a document"),
])
def test_documents_that_cannot_be_read(api, source, says):
    kind, reason = api.refused("POST", "/logs/_doc", source)
    assert kind == "mapper_parsing_exception" and says in reason
    assert api.ok("GET", "/logs/_count")["count"] == 0 and api.properties() == {}


def test_an_empty_body_and_no_text(api):
    assert api.refused("POST", "/logs/_doc") == ("parse_exception", "request body is required")
    assert api.engine.handle("POST", "/logs/_doc", "", b'{"a":"\xff"}')[0] == 400


@pytest.mark.parametrize("value, mapping", [
    (1, {"type": "long"}), (1.5, {"type": "float"}), (True, {"type": "boolean"}),
    ("x", {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}),
    ("2024-05-01", {"type": "date"}), ("2024-05-01T10:00:00.123456+02:00", {"type": "date"}),
    ("2024/05/01", {"type": "date", "format": "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd||epoch_millis"}),
    ("2024-13-01", {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}),
    ("2024", {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}),
    ({}, {"type": "object"}), ({"b": [[1], [None, 2]]}, {"properties": {"b": {"type": "long"}}}),
])
def test_default_dynamic_mapping(api, value, mapping):
    api.index({"a": value, "nothing": None, "empty": [], "nulls": [None]})
    assert api.properties() == {"a": mapping}


def test_detection_can_be_switched(api):
    api.index({"a": "2024-05-01", "b": "1", "c": "1.5"}, date_detection=False, numeric_detection=True)
    assert {name: each["type"] for name, each in api.properties().items()} == {"a": "text", "b": "long", "c": "float"}


def test_dynamic_templates(api):
    api.index({"n": 1, "f": 1.5, "b": True, "s": "x", "o": {"s_id": "y", "raw": {"x": 1}}}, dynamic_templates=[
        {"ids": {"match_mapping_type": "string", "match": "*_id", "mapping": {"type": "keyword", "index": False}}},
        {"raw": {"path_match": "o.raw", "match_mapping_type": "object", "mapping": {"type": "object", "enabled": False}}},
        {"whole": {"match_mapping_type": "long", "mapping": {"type": "double", "ignore_malformed": True}}},
        {"rest": {"match_mapping_type": "*", "unmatch": "[o]", "mapping": {"type": "{dynamic_type}"}}},
    ])
    assert api.properties() == {
        "n": {"type": "double", "ignore_malformed": True}, "f": {"type": "float"}, "b": {"type": "boolean"},
        "s": {"type": "text"},
        "o": {"properties": {"s_id": {"type": "keyword", "index": False}, "raw": {"type": "object", "enabled": False}}}}


def test_objects_that_take_nothing_in(api):
    api.index({"off": {"a": {"": 1}, "_id": "x"}, "still": {"a": [1, {"b": 2}], "known": "x"}},
              properties={"off": {"type": "object", "enabled": False},
                          "still": {"dynamic": False, "properties": {"known": {"type": "keyword"}}}})
    assert api.properties() == {"off": {"type": "object", "enabled": False},
                                "still": {"dynamic": False, "properties": {"known": {"type": "keyword"}}}}
    assert len(api.hits({"term": {"still.known": "x"}})) == 1
    assert not api.hits({"exists": {"field": "still.a"}}) and not api.hits({"exists": {"field": "off"}})


def test_strict_objects_refuse_the_unknown(api):
    api.index(dynamic="strict", properties={"a": {"type": "long"}})
    assert api.refused("POST", "/logs/_doc", {"b": 1}) == (
        "strict_dynamic_mapping_exception", "mapping set to strict, dynamic introduction of [b] within [_doc] is not allowed")


TYPES = {name: {"type": name} for name in ("keyword", "text", "date", "double", "float", "long", "byte", "boolean", "object")}


@pytest.mark.parametrize("document", [
    {"keyword": [1, True, 1e30, "x"]}, {"text": [1, True]}, {"double": ["1.5", "-1e3", 7, ""]}, {"long": ["12", 1.9, " 3 ", ""]},
    {"boolean": ["true", "false", "", True]}, {"date": ["2024-01-01T", 1700000000000, "1700000000000", "2024-02", 2024]},
    {"date": "2024-01-01T10:00:00,5-0330"}, {"object": [{}, None]}, {"object.a": 1}, {"byte": [-128, 127]}, {"double": None},
])
def test_values_that_fit(api, document):
    api.index(document, properties=TYPES)


@pytest.mark.parametrize("document, says", [
    ({"double": "x"}, "failed to parse field [double] of type [double] in document with id"),
    ({"double": True}, "Current token (VALUE_TRUE) not numeric"),
    ({"double": {"a": 1}}, "Preview of field's value: '{a=1}'"),
    ('{"double": 1E400}', "[double] supports only finite values"),
    ({"float": 1e39}, "[float] supports only finite values"),
    ({"long": 2**63}, "out of range for a long"),
    ('{"long": 1E999999999999999999999}', "out of range for a long"),
    ({"byte": 128}, "out of range for a byte"),
    ({"long": "1_0"}, 'For input string: "1_0"'),
    ({"date": "tomorrow"}, "failed to parse date field [tomorrow] with format [strict_date_optional_time||epoch_millis]"),
    ({"date": "2024-02-30"}, "failed to parse date field"),
    ({"date": False}, "failed to parse date field [false]"),
    ({"boolean": 1}, "Failed to parse value [1] as only [true] or [false] are allowed."),
    ({"keyword": {}}, "Can't get text on a START_OBJECT"),
    ({"object": "x"}, "object mapping for [object] tried to parse field [object] as object, but found a concrete value"),
    ({"object": [{}, 1]}, "object mapping for [object] tried to parse field [null] as object, but found a concrete value"),
    ({"long.a": 1}, "Existing mapping for [long] must be of type object but found [long]"),
])
def test_values_that_do_not_fit(api, document, says):
    api.index(properties=TYPES)
    before = api.properties()
    if isinstance(document, dict):
        document = {"new": 1, **document}
    kind, reason = api.refused("POST", "/logs/_doc", document)
    assert kind == "mapper_parsing_exception" and says in reason
    assert api.properties() == before and api.hits() == []


def test_malformed_values_can_be_ignored(api):
    api.index('{"a": "x", "b": "soon", "c": 1E400, "ok": 1}', properties={
        "a": {"type": "long", "ignore_malformed": True}, "b": {"type": "date", "ignore_malformed": True},
        "c": {"type": "double", "ignore_malformed": True}, "flag": {"type": "boolean"}})
    [hit] = api.hits()
    assert hit["_ignored"] == ["a", "b", "c"]
    assert not api.hits({"exists": {"field": "a"}}) and api.hits({"exists": {"field": "ok"}})
    assert api("POST", "/logs/_doc", {"a": {"b": 1}})[0] == 400, "an object is never ignored"
    api.ok("PUT", "/all", {"settings": {"index.mapping.ignore_malformed": True}, "mappings": {"properties": TYPES}})
    api.ok("POST", "/all/_doc", {"long": "x"})
    assert api("POST", "/all/_doc", {"boolean": "x"})[0] == 400, "booleans know no such thing"


def test_a_first_array_of_two_types_contradicts_itself(api):
    """OpenSearch derives a mapping from each value, and the two don't merge."""
    assert api.refused("POST", "/logs/_doc", {"a": [1, 1.5]})[1] == "mapper [a] cannot be changed from type [long] to [float]"
    assert api.refused("POST", "/logs/_doc", {"a": [{}, 1]})[1] == "can't merge a non object mapping [a] with an object mapping"
    assert api.properties() == {}
    api.index({"a": 1}, {"a": [1, 1.5]})


def test_very_long_keywords(api):
    api.index({"short": "x" * 40_000}, {"any": "x" * 40_000}, properties={
        "long": {"type": "keyword"}, "short": {"type": "keyword", "ignore_above": 10}})
    assert not api.hits({"exists": {"field": "short"}}) and not api.hits({"exists": {"field": "any.keyword"}})
    assert api.refused("POST", "/logs/_doc", {"long": "ü" * 16_384})[1].startswith("Document contains at least one immense term")
    api.index({"long": "ü" * 16_383})


def test_the_limit_of_fields_counts_objects_and_multi_fields(api):
    api.ok("PUT", "/logs", {"settings": {"mapping.total_fields.limit": 5}})
    api.index({"o": {"s": "x"}, "n": 1, "m": 1})
    assert api.refused("POST", "/logs/_doc", {"p": 1}) == (
        "illegal_argument_exception", "Limit of total fields [5] has been exceeded")
    assert "p" not in api.properties()
    api.index({"o": {"s": "y"}, "m": 2})


def test_the_default_limit_of_fields(api):
    api.index({f"f{number}": number for number in range(1000)})
    assert "Limit of total fields [1000]" in api.refused("POST", "/logs/_doc", {"one": 1})[1]


def test_the_limit_of_depth(api):
    def nested(depth):
        return {"o": nested(depth - 1)} if depth else 1

    api.index(nested(20))
    kind, reason = api.refused("POST", "/other/_doc", nested(21))
    path = ".".join(["o"] * 20)
    assert (kind, reason) == ("illegal_argument_exception",
                              f"Limit of mapping depth [20] has been exceeded due to object field [{path}]")


# --- many documents at once ------------------------------------------------------------------------------------------------


def test_bulk(api):
    api.index(properties={"n": {"type": "long"}})
    lines = ['{"index":{}}', '{"n":1.0}', '{"create":{"_index":"other"}}', '{"n":2}', '{"index":{}}', '{"n":"x"}',
             '{"index":{}}', "{", '{"index":{"_id":"mine"}}', "{}"]
    answer = api.ok("POST", "/logs/_bulk", "\n".join(lines) + "\n")
    assert answer["errors"] is True
    items = [(action, item["_index"], item["status"], item.get("error", {}).get("type"))
             for each in answer["items"] for action, item in each.items()]
    assert items == [
        ("index", "logs", 201, None), ("create", "other", 201, None), ("index", "logs", 400, "mapper_parsing_exception"),
        ("index", "logs", 400, "mapper_parsing_exception"), ("index", "logs", 400, "illegal_argument_exception")]
    assert api.ok("POST", "/_bulk", '{"index":{"_index":"logs"}}\n{"n":3}\n')["errors"] is False
    assert api.ok("GET", "/_count")["count"] == 3


@pytest.mark.parametrize("body", [
    '{"index":{}}\n{}', '{"delete":{"_id":"1"}}\n', '{"index":{}}\n{}\n{"update":{}}\n{}\n', "x\n", ""])
def test_bulk_requests_that_are_refused_whole(api, body):
    assert api("POST", "/logs/_bulk", body)[0] == 400
    assert api("HEAD", "/logs")[0] == 404


# --- searching -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(api):
    api.index(
        {"id": 1, "at": "2024-01-31T23:59:59.999Z", "kind": "a", "n": 1, "f": 0.5, "on": True, "words": "Hello, World"},
        {"id": 2, "at": "2024-02-01", "kind": ["b", "c"], "n": 2**53 + 1, "on": False, "o": {"x": 1}},
        {"id": 3, "at": 1706832000000, "kind": "b", "n": [5, 7]},
        '{"id": 4, "big": 1}',
        properties={"at": {"type": "date"}, "kind": {"type": "keyword"}, "f": {"type": "double"}, "silent": {
            "type": "keyword", "index": False, "doc_values": False}})
    return api


@pytest.mark.parametrize("query, found", [
    ({"match_all": {}}, [1, 2, 3, 4]),
    ({"term": {"kind": "b"}}, [2, 3]),
    ({"term": {"kind": {"value": "c"}}}, [2]),
    ({"term": {"n": 2**53 + 1}}, [2]), ({"term": {"n": 2**53}}, []), ({"term": {"n": "5"}}, [3]), ({"term": {"n": 5.5}}, []),
    ({"term": {"on": True}}, [1]), ({"term": {"on": "false"}}, [2]), ({"term": {"at": "2024-02-01T00:00:00Z"}}, [2]),
    ({"term": {"words": "world"}}, [1]), ({"term": {"words": "World"}}, []), ({"term": {"words.keyword": "Hello, World"}}, [1]),
    ({"term": {"nowhere": 1}}, []), ({"term": {"_index": "logs"}}, [1, 2, 3, 4]),
    ({"terms": {"kind": ["a", "c"]}}, [1, 2]), ({"terms": {"kind": []}}, []),
    ({"range": {"n": {"gt": 1, "lte": 7}}}, [3]), ({"range": {"n": {"gte": 2**53 + 1}}}, [2]),
    ({"range": {"f": {"lt": 0.6}}}, [1]),
    ({"range": {"at": {"gte": "2024-02-01", "lt": "2024-02-02"}}}, [2]),
    ({"range": {"at": {"lte": "2024-01-31"}}}, [1]), ({"range": {"at": {"gt": "2024-01"}}}, [2, 3]),
    ({"range": {"at": {"gte": 1706745600000}}}, [2, 3]),
    ({"range": {"at": {"gte": 1706745600, "format": "epoch_second"}}}, [2, 3]),
    ({"range": {"at": {"gte": "2024-02-01T01:00:00+01:00", "lte": "now"}}}, [2, 3]), ({"range": {"at": {"gt": "now-5d"}}}, []),
    ({"range": {"kind": {"gte": "b"}}}, [2, 3]), ({"range": {"nowhere": {"gt": 1}}}, []),
    ({"exists": {"field": "n"}}, [1, 2, 3]), ({"exists": {"field": "o"}}, [2]),
    ({"bool": {}}, [1, 2, 3, 4]),
    ({"bool": {"must_not": {"exists": {"field": "at"}}}}, [4]),
    ({"bool": {"filter": [{"term": {"kind": "b"}}], "must_not": [{"term": {"on": False}}]}}, [3]),
    ({"bool": {"should": [{"term": {"kind": "a"}}, {"term": {"kind": "c"}}]}}, [1, 2]),
    ({"bool": {"should": [{"term": {"kind": "c"}}], "filter": {"exists": {"field": "kind"}}}}, [1, 2, 3]),
    ({"bool": {"should": [{"term": {"kind": "b"}}, {"term": {"kind": "c"}}], "minimum_should_match": 2}}, [2]),
])
def test_queries(filled, query, found):
    assert sorted(filled.ids(query)) == found
    assert filled.ok("GET", "/logs/_count", {"query": query})["count"] == len(found)


@pytest.mark.parametrize("search, says", [
    ({"query": {"match": {"a": "b"}}}, "unknown query [match]"),
    ({"query": {"term": {"a": 1}, "match_all": {}}}, "malformed query"),
    ({"query": {"term": {"n": "x"}}}, 'failed to create query: For input string: "x"'),
    ({"query": {"range": {"at": {"gte": "soon"}}}}, "failed to parse date field [soon]"),
    ({"query": {"range": {"n": {"from": 1}}}}, "[range] does not support [from]"),
    ({"query": {"term": {"silent": "x"}}}, "Cannot search on field [silent]"),
    ({"sort": "nowhere"}, "No mapping found for [nowhere] in order to sort on"),
    ({"sort": "words"}, "Text fields are not optimised"),
    ({"sort": {"n": {"mode": "avg"}}}, "[sort] does not support [mode]"),
    ({"size": 9_999, "from": 2}, "Result window is too large"),
    ({"size": -1}, "a whole number"),
    ({"sort": [True]}, "malformed request"),
    ({"aggs": {"x": None}}, "malformed request"),
    ({"aggs": {"x": {"terms": {}}}}, "malformed request"),
    ({"highlight": {}}, "Unknown key for a value in [highlight]"),
    ({"aggs": {"x": {"terms": {"field": "words"}}}}, "Text fields are not optimised"),
    ({"aggs": {"x": {"terms": {"field": "silent"}}}}, "Use doc values instead"),
    ({"aggs": {"x": {"avg": {"field": "n"}}}}, "Unknown aggregation type [avg] in [x]"),
    ({"aggs": {"x": {"date_histogram": {"field": "at"}}}}, "Invalid interval specified"),
    ({"aggs": {"x": {"date_histogram": {"field": "at", "fixed_interval": "1M"}}}}, "failed to parse setting"),
    ({"aggs": {"x": {"date_histogram": {"field": "at", "calendar_interval": "2d"}}}}, "could not be parsed"),
    ({"aggs": {"x": {"date_histogram": {"field": "at", "fixed_interval": "1ms"}}}}, "Trying to create too many buckets"),
    ({"aggs": {"x": {"date_histogram": {"field": "kind", "fixed_interval": "1d"}}}}, "of type [keyword] is not supported"),
])
def test_searches_that_are_refused(filled, search, says):
    assert says in filled.refused("POST", "/logs/_search", search)[1]


def test_a_query_is_checked_where_nothing_is(api):
    assert "unknown query" in api.refused("POST", "/_search", {"query": {"match": {}}})[1]
    assert api.ok("POST", "/none*/_search", {})["hits"] == {
        "total": {"value": 0, "relation": "eq"}, "max_score": None, "hits": []}


def test_several_indexes(api):
    for name in ("logs-1", "logs-2", "other"):
        api.index({"id": name}, name=name)
    for names, found in (("logs-*", 2), ("_all", 3), ("logs-1,other", 2), ("*", 3)):
        assert len(api.hits(name=names)) == found
    assert len(api.ok("GET", "/_search")["hits"]["hits"]) == 3


def test_sorting(filled):
    assert filled.ids(sort=[{"at": "desc"}]) == [3, 2, 1, 4], "what lacks the field comes last"
    assert filled.ids(sort=[{"at": {"order": "asc", "missing": "_first"}}]) == [4, 1, 2, 3]
    assert filled.ids(sort=[{"on": "desc"}, {"id": "desc"}]) == [1, 2, 4, 3]
    assert filled.ids(sort=[{"n": "asc"}]) == [1, 3, 2, 4]
    assert filled.ids(sort=[{"kind": "desc"}, {"id": "asc"}]) == [2, 3, 1, 4]
    assert [hit["sort"] for hit in filled.hits(sort=[{"at": "desc"}, "kind"])] == [
        [1706832000000, "b"], [1706745600000, "b"], [1706745599999, "a"], [-(2**63), None]]
    assert filled.hits(sort=[{"f": "asc"}])[1]["sort"] == ["Infinity"]
    assert filled.ids(sort={"nowhere": {"unmapped_type": "long"}}) == [1, 2, 3, 4]
    answer = filled.ok("GET", "/logs/_search?sort=at:desc&size=1&from=1")["hits"]
    assert (answer["max_score"], answer["hits"][0]["_score"], answer["hits"][0]["_source"]["id"]) == (None, None, 2)


def test_pages_and_totals(api):
    api.index(*({"id": number} for number in range(12)))
    assert (len(api.hits()), len(api.hits(size=12)), len(api.hits(size=0))) == (10, 12, 0)
    assert api.ids(**{"from": 10}) == [10, 11]
    total = lambda track: api.ok("POST", "/logs/_search", {"track_total_hits": track})["hits"].get("total")
    assert total(True) == {"value": 12, "relation": "eq"}
    assert total(5) == {"value": 5, "relation": "gte"}
    assert total(False) is None


# --- aggregations ----------------------------------------------------------------------------------------------------------


def test_terms(filled):
    found = filled.aggregate({"terms": {"field": "kind", "size": 2}})
    assert found == {"doc_count_error_upper_bound": 0, "sum_other_doc_count": 1, "buckets": [
        {"key": "b", "doc_count": 2}, {"key": "a", "doc_count": 1}]}
    keys = lambda **more: [each["key"] for each in filled.aggregate({"terms": {"field": "kind", **more}})["buckets"]]
    assert keys(order={"_key": "desc"}) == ["c", "b", "a"]
    assert keys(missing="–") == ["b", "a", "c", "–"]
    assert keys(min_doc_count=2) == ["b"]
    assert filled.aggregate({"terms": {"field": "on"}})["buckets"][0] == {"key": 0, "key_as_string": "false", "doc_count": 1}
    assert filled.aggregate({"terms": {"field": "nowhere"}})["buckets"] == []


def test_cardinality(filled):
    assert filled.aggregate({"cardinality": {"field": "kind", "precision_threshold": 100}}) == {"value": 3}
    assert filled.aggregate({"cardinality": {"field": "nowhere"}}) == {"value": 0}


@pytest.mark.parametrize("interval, days", [
    ({"calendar_interval": "month"}, ["2024-01-01", "2024-02-01"]),
    ({"calendar_interval": "1w"}, ["2024-01-29"]),
    ({"calendar_interval": "day"}, ["2024-01-31", "2024-02-01", "2024-02-02"]),
    ({"fixed_interval": "2d"}, ["2024-01-30", "2024-02-01"]),
])
def test_date_histogram(filled, interval, days):
    buckets = filled.aggregate({"date_histogram": {"field": "at", **interval}})["buckets"]
    assert [each["key_as_string"] for each in buckets] == [f"{day}T00:00:00.000Z" for day in days]
    assert sum(each["doc_count"] for each in buckets) == 3


def test_gaps_of_a_date_histogram(api):
    api.index({"at": "2023-12-31T23:59:30Z"}, {"at": "2024-01-01T00:02:00Z"})
    buckets = lambda **more: [(each["key_as_string"][11:16], each["doc_count"]) for each in api.aggregate(
        {"date_histogram": {"field": "at", "calendar_interval": "minute", **more}})["buckets"]]
    assert buckets() == [("23:59", 1), ("00:00", 0), ("00:01", 0), ("00:02", 1)]
    assert buckets(min_doc_count=1) == [("23:59", 1), ("00:02", 1)]
    api.index({"at": "2024-04-01T00:00:00Z"})
    months = api.aggregate({"date_histogram": {"field": "at", "calendar_interval": "month"}})["buckets"]
    assert [each["key_as_string"][:7] for each in months] == ["2023-12", "2024-01", "2024-02", "2024-03", "2024-04"]


def test_aggregations_within_aggregations(filled):
    buckets = filled.aggregate({
        "date_histogram": {"field": "at", "calendar_interval": "month"},
        "aggs": {"kinds": {"terms": {"field": "kind"}, "aggs": {"distinct": {"cardinality": {"field": "n"}}}}}})["buckets"]
    assert [(each["key"], each["doc_count"], each["distinct"]["value"]) for each in buckets[1]["kinds"]["buckets"]] == [
        ("b", 2, 3), ("c", 1, 1)]
    ordered = filled.aggregate({"terms": {"field": "kind", "order": {"values": "desc"}},
                                "aggs": {"values": {"cardinality": {"field": "n"}}}})["buckets"]
    assert [(each["key"], each["values"]["value"]) for each in ordered] == [("b", 3), ("a", 1), ("c", 1)]


def test_an_aggregation_sees_only_what_matched(filled):
    answer = filled.ok("POST", "/logs/_search", {"query": {"term": {"kind": "a"}}, "aggs": {"it": {"terms": {"field": "kind"}}}})
    assert answer["aggregations"]["it"]["buckets"] == [{"key": "a", "doc_count": 1}]


# --- around it -------------------------------------------------------------------------------------------------------------


def test_threads_lose_nothing(api):
    def write():
        for number in range(50):
            api.engine.handle("POST", "/logs/_doc", "", json.dumps({f"f{number}": number}).encode())

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.ok("GET", "/logs/_count")["count"] == 200
    assert len(api.properties()) == 50
    assert len({hit["_id"] for hit in api.hits(size=200)}) == 200


@pytest.mark.parametrize("method, path, body, wishes", [
    ("PUT", "/logs", "", {("CreateIndex", "logs")}),
    ("HEAD", "/logs", "", {("DescribeIndex", "logs")}), ("GET", "/logs/_mapping", "", {("DescribeIndex", "logs")}),
    ("PUT", "/logs/_mapping", "", {("UpdateIndex", "logs")}), ("DELETE", "/logs", "", {("DeleteIndex", "logs")}),
    ("POST", "/logs/_doc", "{}", {("WriteDocument", "logs")}),
    ("POST", "/a,b/_search", "", {("ReadDocument", "a"), ("ReadDocument", "b")}),
    ("GET", "/_search", "", {("ReadDocument", "*")}),
    ("POST", "/l*/_count", "", {("ReadDocument", "l*")}), ("GET", "/_cat/indices", "", {("DescribeIndex", "*")}),
    ("POST", "/a/_bulk", '{"index":{}}\n{}\n{"create":{"_index":"b"}}\n{}\n', {("WriteDocument", "a"), ("WriteDocument", "b")}),
    ("POST", "/_bulk", "x", {("WriteDocument", "*")}),
    ("GET", "/logs/_doc/1", "", {("ReadDocument", "logs")}), ("POST", "/_anything", "", {("WriteDocument", "*")}),
])
def test_what_a_request_wants(method, path, body, wishes):
    """In the words of data access policies."""
    assert wanted(method, path, body.encode()) == wishes
