# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds every message of the local API to ipc/schema.json (OpenRPC, JSON Schema 2020-12), both ways.

Stricter than a client should be: a result or notification with a member that the schema does not name is wrong here,
for it would be undocumented.
"""
import json
import os
import pathlib

import jsonschema

SCHEMA = pathlib.Path(os.environ.get("CONND_SCHEMA") or pathlib.Path(__file__).resolve().parents[2] / "ipc" / "schema.json")
# Of longer lists the first items stand for all: a list of ten thousand channels takes seconds to check.
MAX_ITEMS = 50
INVALID = (-32600, -32601, -32602)


class SchemaError(AssertionError):
    """A message is not as the schema says."""


def closed(schema):
    """The schema with no members but those that it names, at any depth."""
    if schema.get("type") == "object" and "properties" in schema:
        inner = {name: closed(member) for name, member in schema["properties"].items()}
        return schema | {"properties": inner, "additionalProperties": False}
    if schema.get("type") == "array":
        return schema | {"items": closed(schema["items"])}
    return schema


def shortened(value):
    if isinstance(value, dict):
        return {name: shortened(member) for name, member in value.items()}
    return [shortened(item) for item in value[:MAX_ITEMS]] if isinstance(value, list) else value


def params_schema(message):
    """One object's schema from OpenRPC's list of params."""
    properties = {param["name"]: param["schema"] for param in message["params"]}
    required = [param["name"] for param in message["params"] if param["required"]]
    return {"type": "object", "properties": properties, "required": required}


def body_validator(schema, message):
    """For what the daemon sends: with `fds` where an fd may come."""
    if message.get("x-fd"):
        schema = schema | {"properties": schema["properties"] | {"fds": {"const": 1}}}
    return jsonschema.Draft202012Validator(schema if message.get("x-open") else closed(schema))


class Schema:
    def __init__(self, path=SCHEMA):
        document = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        validator = jsonschema.Draft202012Validator
        methods = document["methods"]
        self.params = {m["name"]: validator(closed(params_schema(m))) for m in methods}
        self.results = {m["name"]: body_validator(m["result"]["schema"], m) for m in methods}
        self.notes = {n["name"]: body_validator(params_schema(n), n) for n in document["x-notifications"]}
        event = next(note for note in document["x-notifications"] if note["name"] == "event")
        self.events = {kind: validator(closed(schema)) for kind, schema in event["x-types"].items()}
        codes = {reason: error["code"] for reason, error in document["components"]["errors"].items()}
        data = validator(closed(document["components"]["schemas"]["ErrorData"]))
        self.codes, self.error_data = codes, data

    def request_problem(self, request):
        """What is wrong with a request; None if nothing is."""
        method = request.get("method")
        if method not in self.params:
            return f"no such method: {method}"
        return problem(self.params[method], request.get("params", {}))

    def check_reply(self, request, reply):
        """`request` (None: the daemon could not tell which) was answered with `reply`."""
        if "error" in reply:
            return self._check_error(reply)
        wrong = self.request_problem(request)
        if wrong:
            raise SchemaError(f"{request} was carried out, but is wrong: {wrong}")
        require(set(reply) == {"jsonrpc", "id", "result"}, reply, "members of a reply")
        require_valid(self.results[request["method"]], reply["result"], reply)

    def check_notification(self, note):
        require(set(note) == {"jsonrpc", "method", "params"}, note, "members of a notification")
        require(note["method"] in self.notes, note, "unknown notification")
        require_valid(self.notes[note["method"]], note["params"], note)
        if note["method"] == "event":
            kind = note["params"]["type"]
            require(kind in self.events, note, "unknown type of event")
            require_valid(self.events[kind], note["params"], note)

    def _check_error(self, reply):
        require(set(reply) == {"jsonrpc", "id", "error"}, reply, "members of an error reply")
        error = reply["error"]
        require(set(error) == {"code", "message", "data"}, reply, "members of an error")
        text = error["message"]
        require(isinstance(text, str) and text and "\n" not in text, reply, "the message is one line of text")
        require_valid(self.error_data, error["data"], reply)
        reason = error["data"]["reason"]
        invalid = reason == "invalid-argument" and error["code"] in (-32700, *INVALID)
        require(invalid or error["code"] == self.codes[reason], reply, "the code is the reason's")


def problem(validator, value):
    found = next(validator.iter_errors(shortened(value)), None)
    return found and f"{'.'.join(map(str, found.absolute_path))}: {found.message}"


def require(condition, message, what):
    if not condition:
        raise SchemaError(f"{what}: {message}")


def require_valid(validator, value, message):
    wrong = problem(validator, value)
    require(not wrong, str(message)[:2000], wrong)


class Checked:
    """One control connection's messages, in their order: requests wait for their replies."""

    def __init__(self, schema):
        self.schema = schema
        self.requests = {}

    def sent(self, request):
        if isinstance(request, dict) and isinstance(request.get("id"), (str, int)):
            self.requests[request["id"]] = request

    def received(self, message):
        if "method" in message:
            return self.schema.check_notification(message)
        request = self.requests.pop(message["id"], None)
        # An error without an id is of a line that could not be read.
        require(request or (message["id"] is None and "error" in message), message, "a reply that nobody waits for")
        return self.schema.check_reply(request, message)


SCHEMA_OF_ALL = Schema()
