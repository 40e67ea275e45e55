//! Texts, lists, topics and records, sessions.

use super::Endpoint;

const SESSION: &str = r#"{"user":"string?","role":"string?","authentication":"string"}"#;
const TEXT: &str = r#"{"sql":"string","properties~":{"*":"string"},"sessionVariables~":{"*":"string"}}"#;
const PLAN: &str = r#"{"nodes":[{"id":"string","op":"string","label":"string","key":"string?","partitions":"integer?",
    "hop":"string?","state":"string","warning":"string?","span?":{"start":"integer","end":"integer","line":"integer","column":"integer"}}],"edges":[{"from":"string","to":"string"}]}"#;
const TOPIC: &str = r#"{"name":"string","partitions":"integer","replicas":"integer","records":"integer?","bytes":"integer?",
    "retentionMillis":"integer?","readBy":["string"],"writtenBy":["string"],"internal":"boolean",
    "partitionsDetail":[{"partition":"integer","low":"integer","end":"integer","stable":"integer","bytes":"integer?"}],
    "settings":{"*":"string"}}"#;

const fn get(path: &'static str, summary: &'static str, response: &'static str) -> Endpoint {
    Endpoint { method: "GET", path, summary, parameters: &[], request: None, response: Some(response) }
}

const fn post(path: &'static str, summary: &'static str, request: &'static str, response: &'static str) -> Endpoint {
    Endpoint { method: "POST", path, summary, parameters: &[], request: Some(request), response: Some(response) }
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    get("/api/v1/session", "Who the caller is.", SESSION),
    post(
        "/api/v1/session",
        "Logs in: sets a cookie.",
        r#"{"user~":"string","password~":"string","token~":"string"}"#,
        SESSION,
    ),
    Endpoint { method: "DELETE", ..get("/api/v1/session", "Logs out.", SESSION) },
    post(
        "/api/v1/check",
        "Checks a text without effect.",
        TEXT,
        r#"{"statements":[{"start":"integer","end":"integer","kind":"string?","role":"string?","reads":["string"],
            "writes":["string"],"creates":["string"]}],
            "diagnostics":[{"start":"integer","end":"integer","line":"integer","column":"integer","severity":"string",
            "code":"integer","message":"string","detail":"string?","hint":"string?",
            "fix?":{"start":"integer","end":"integer","text":"string"}}]}"#,
    ),
    post(
        "/api/v1/complete",
        "Completes the word at a place.",
        r#"{"sql":"string","at~":"integer"}"#,
        r#"{"from":"integer","options":[{"label":"string","kind":"string","detail":"string?","doc":"string?"}]}"#,
    ),
    post("/api/v1/format", "Lays a text out.", r#"{"sql":"string"}"#, r#"{"sql":"string"}"#),
    post("/api/v1/plan", "The plan of a statement, as a graph.", TEXT, PLAN),
    get("/api/v1/queries/{id}/plan", "The plan of a persistent query, as a graph.", PLAN),
    get(
        "/api/v1/sources",
        "Streams and tables.",
        r#"{"sources":[{"name":"string","type":"string","topic":"string","keyFormat":"string","valueFormat":"string",
            "windowed":"boolean","readOnly":"boolean","columns":[{"name":"string","type":"string","key":"boolean"}],
            "readers":["string"],"writers":["string"],"statement":"string"}]}"#,
    ),
    get(
        "/api/v1/topics",
        "Topics.",
        r#"{"topics":[{"name":"string","partitions":"integer","replicas":"integer","records":"integer?","bytes":"integer?",
            "retentionMillis":"integer?","readBy":["string"],"writtenBy":["string"],"internal":"boolean"}]}"#,
    ),
    get("/api/v1/topics/{topic}", "One topic with its partitions and settings.", TOPIC),
    Endpoint {
        method: "GET",
        path: "/api/v1/topics/{topic}/records",
        summary: "Records, a line each.",
        parameters: &[
            ("partition", "integer", "one partition; all without it"),
            ("offset", "integer", "start at this offset"),
            ("time", "integer", "start at this time"),
            ("last", "integer", "so many records before the end"),
            ("limit", "integer", "most records, 100 unless given"),
            ("as", "string", "declared, json, kafka, text or hex"),
            ("source", "string", "the stream or table that declares them, where several do"),
            ("where", "string", "a condition in SQL"),
        ],
        request: None,
        response: None,
    },
    post(
        "/api/v1/topics/{topic}/records",
        "Writes records.",
        r#"{"records":[{"key~":"any","value~":"any","partition?~":"integer","time?~":"integer","as?~":"string",
            "headers~":[{"key":"string","value?~":"string","valueRaw?~":"string"}]}],"source?~":"string"}"#,
        r#"{"offsets":[{"partition":"integer","offset":"integer?"}]}"#,
    ),
    Endpoint {
        parameters: &[("query", "string", "of one query"), ("since", "integer", "not older than this time")],
        ..get(
            "/api/v1/problems",
            "Bad records by reason, late rows, queries that ended.",
            r#"{"groups":[{"query":"string","kind":"string","reason":"string","topic":"string?","count":"integer",
                "last":"integer?","sample?":{"partition":"integer","offset":"integer"}}]}"#,
        )
    },
    get(
        "/api/v1/settings",
        "Settings and where they come from.",
        r#"{"settings":[{"name":"string","value":"string","origin":"string","effect":"string?"}]}"#,
    ),
    get(
        "/api/v1/statements",
        "The command log: statements that were carried out.",
        r#"{"statements":[{"sequence":"integer","time":"integer","sql":"string","status":"string","message":"string"}]}"#,
    ),
];
