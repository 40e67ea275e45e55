//! Overview, queries, graph, history.

use super::Endpoint;

const fn get(path: &'static str, summary: &'static str, response: &'static str) -> Endpoint {
    Endpoint { method: "GET", path, summary, parameters: &[], request: None, response: Some(response) }
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    get(
        "/api/v1/overview",
        "The server in numbers, and what needs attention.",
        r#"{"version":"string","commit":"string?","log":{"kind":"string","place":"string?"},"startedAt":"integer",
            "now":"integer","role":"string","user":"string","readOnly":"boolean",
            "queries":{"running":"integer","paused":"integer","waiting":"integer","error":"integer"},
            "sources":{"streams":"integer","tables":"integer"},"topics":"integer?",
            "rates":{"in":"number?","out":"number?","inBytes":"number?","outBytes":"number?"},"lag":"integer?",
            "bad":"integer","late":"integer","rssBytes":"integer?","stateBytes":"integer?","diskFreeBytes":"integer?",
            "attention":[{"query":"string?","topic":"string?","severity":"string","text":"string","since":"integer?",
            "statements":["string"]}],"limits":{"*":"integer"}}"#,
    ),
    get(
        "/api/v1/queries",
        "Persistent queries and push queries.",
        r#"{"queries":[{"id":"string","state":"string","sentence":"string","sql":"string","reads":["string"],"writes":["string"],"lag":"integer?"}]}"#,
    ),
    get(
        "/api/v1/queries/{id}",
        "One persistent query with its partitions and stages.",
        r#"{"id":"string","state":"string","partitions":["any"],"stages":[{"id":"string","name":"string"}],"settings":{"*":"any"}}"#,
    ),
    Endpoint {
        parameters: &[("at", "string", "a name to begin at"), ("depth", "integer", "steps from there, 2 unless given")],
        ..get(
            "/api/v1/graph",
            "What flows where.",
            r#"{"nodes":[{"id":"string","kind":"string","name":"string","state":"string?","lag":"integer?"}],
                "edges":[{"from":"string","to":"string","kind":"string","rate":"number?"}]}"#,
        )
    },
    Endpoint {
        parameters: &[
            ("query", "string", "one query; * = all together"),
            ("series", "string", "names with commas"),
            ("since", "integer", "not older than this time"),
            ("step", "string", "1s or 15s"),
        ],
        ..get(
            "/api/v1/history",
            "The recent past of the queries.",
            r#"{"stepMillis":"integer","start":"integer","series":{"*":["number?"]}}"#,
        )
    },
];
