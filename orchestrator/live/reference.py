"""What is said on the bus, as a document: `python -m orchestrator.live.reference FOLDER` writes events.md and
events.schema.json there, from the event types themselves.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema

from lineage.events import Event, Recorded
from lineage.reports import EventValue
from orchestrator.live import messages
from orchestrator.live.messages import Envelope, Status, Use
from orchestrator.search import control

HEAD = """# Events, and how to hear and ask for them

*Made by `make docs` from the event types; a test compares.* As JSON Schema: [events.schema.json](events.schema.json).

{bus}

## What is published

| topic, below `spnas/<run>/` | payload | |
| --- | --- | --- |
| `events/<Kind>` | `{recorded}` | each event once it is durable, in order; QoS 1, so one may come twice: `seq` tells |
| `status` | `{status}` | retained; `state` is one of {states}; the broker says `lost` for a run that is gone |
| `devices` | `{uses}` | what devices do, every two seconds; `suspended`: the search itself is, by a signal |
| `requests/<client>` | `{envelope}` | what clients ask |
| `replies/<client>` | `{{"id": ..., ANSWER}}` | ANSWER is `"event": ...`, `"events": [...]` or `"error": ...` |

A run that is there says its status again where another stands. Where many ask for events at once, a question may get no
answer: ask again.

`<client>` is any name of the client's own. In the name of a run, what is neither a letter, a digit, a space nor one of
`!'()*,-.:;=@[]_~` is percent-encoded in topics.

## What can be asked

`body` is one of these:

| body | |
| --- | --- |
| `{{"request": "events", "after": SEQ}}` | the next events after a number, some hundred at a time; needs no signature. |
{requests}
`signature` is the HMAC-SHA256, in hexadecimal, by the `key` in the run's `endpoint.json`, of the JSON text of
`[run, session, id, by, body]` with sorted keys, `", "` and `": "` between, and characters beyond ASCII escaped; `session` is
that of the status. An `id` (8 to 64 characters) is taken once.

## Events

Every event has `kind` and these fields.
"""


def document() -> str:
    """The text of events.md."""
    head = HEAD.format(
        bus=_prose(messages).partition("\n\n")[2],
        recorded=_example(Recorded),
        status=_example(Status),
        envelope=_example(Envelope),
        uses=f'{{"devices": [{_example(Use)}, ...], "suspended": ...}}',
        states=", ".join(f"`{state}`" for state in get_args(messages.State)),
        requests="".join(_request(one) for one in get_args(get_args(control.Request)[0])),
    )
    return head + "".join(_event(kind) for kind in kinds())


def schema() -> str:
    """The text of events.schema.json."""
    found = {"$schema": GenerateJsonSchema.schema_dialect, **Recorded.model_json_schema()}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


def kinds() -> list[type[EventValue]]:
    """All event types, by name."""
    return sorted(get_args(get_args(Event)[0]), key=lambda kind: kind.__name__)


def _prose(documented: Any) -> str:
    return re.sub(r"``(.*?)``", r"`\1`", inspect.getdoc(documented) or "").strip()


def _example(model: Any) -> str:
    return "{" + ", ".join(f'"{name}": ...' for name in model.model_fields) + "}"


def _request(model: Any) -> str:
    fields = {name: field for name, field in model.model_fields.items() if name != "request"}
    body = ", ".join([f'"request": "{model.model_fields["request"].default}"', *(f'"{name}": ...' for name in fields)])
    return f"| `{{{body}}}` | as `spnas-orch {model.model_fields['request'].default}` does |\n"


def _event(kind: type[EventValue]) -> str:
    text = _prose(kind)
    rows = "".join(_row(name, part, kind) for name, part in _properties(kind).items() if name != "kind")
    table = f"| field | type | default |\n| --- | --- | --- |\n{rows}" if rows else "No fields.\n"
    return f"\n### {kind.__name__}\n\n{text}\n\n{table}"


def _properties(kind: type[EventValue]) -> dict[str, Any]:
    properties: dict[str, Any] = kind.model_json_schema()["properties"]
    return properties


def _row(name: str, part: dict[str, Any], kind: type[EventValue]) -> str:
    required = name in kind.model_json_schema().get("required", ())
    default = "required" if required else f"`{json.dumps(part.get('default', {}))}`"
    return f"| `{name}` | {_type(part)} | {default} |\n"


def _type(part: dict[str, Any]) -> str:
    if "anyOf" in part:
        return " or ".join(_type(one) for one in part["anyOf"])
    if "enum" in part:
        return " or ".join(f"`{one}`" for one in part["enum"])
    if "$ref" in part:
        return str(part["$ref"]).rpartition("/")[2]
    if part.get("type") == "array":
        return f"list of {_type(part.get('items', {}))}"
    if part.get("type") == "object" and isinstance(part.get("additionalProperties"), dict):
        return f"object of {_type(part['additionalProperties'])}"
    return str(part.get("type", "any"))


def main() -> int:
    folder = Path(sys.argv[1])
    (folder / "events.md").write_text(document(), encoding="utf-8")
    (folder / "events.schema.json").write_text(schema(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
