//! The schemas of types that `quorate-core` defines and does not describe itself. Words are taken from there.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// What the id of an instance looks like.
pub const INSTANCE_PATTERN: &str = r"^[A-Za-z0-9\[][A-Za-z0-9._:@\[\]-]{0,127}$";

/// A closed list of words.
macro_rules! words {
    ($($type:ident: $doc:literal),* $(,)?) => { $(
        #[doc = $doc]
        pub struct $type;

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let words: Vec<_> = quorate_core::$type::ALL.iter().map(|value| value.as_str()).collect();
                json_schema!({ "type": "string", "description": $doc, "enum": words })
            }
        }
    )* };
}

/// A text of a certain form.
macro_rules! texts {
    ($($type:ident: $doc:literal, $pattern:expr, $example:literal),* $(,)?) => { $(
        #[doc = $doc]
        pub struct $type;

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $doc, "pattern": $pattern, "examples": [$example] })
            }
        }
    )* };
}

words! {
    Verdict: "What the mesh concludes about an instance.",
    Class: "What is broken, by the pattern of the votes.",
    Phase: "How far a failed probe came.",
    Cause: "What went wrong in a failed probe.",
    FailureType: "The type of a failure.",
    AbstainReason: "Why an observer has no opinion.",
}

texts! {
    AgentId: "An agent: the hash of its key.", "^[0-9a-f]{16}$", "3f0c5be2a91d4470",
    InstanceId: "An instance, unique in the mesh.", INSTANCE_PATTERN, "web@10.0.0.1:8080",
    ServiceName: "A service.", r"^[A-Za-z0-9\[][A-Za-z0-9._-]{0,62}$", "web",
    Zone: "A failure domain: a rack, a room, a region.", r"^[A-Za-z0-9\[][A-Za-z0-9._-]{0,62}$", "default",
}

/// How many instances have each verdict.
pub struct VerdictCounts;

impl JsonSchema for VerdictCounts {
    fn schema_name() -> Cow<'static, str> {
        "VerdictCounts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = quorate_core::Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect();
        let count = json_schema!({ "type": "integer", "minimum": 0 });
        let properties: serde_json::Map<_, _> =
            words.iter().map(|word| ((*word).to_owned(), count.as_value().clone())).collect();
        json_schema!({
            "type": "object",
            "description": "How many instances have each verdict; every verdict is present.",
            "properties": properties,
            "required": words,
        })
    }
}

/// An observer's vote and its reasons.
pub struct Observation;

impl JsonSchema for Observation {
    fn schema_name() -> Cow<'static, str> {
        "Observation".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let phase = generator.subschema_for::<Phase>();
        let cause = generator.subschema_for::<Cause>();
        let reason = generator.subschema_for::<AbstainReason>();
        let fail = json_schema!({
            "type": "object",
            "properties": { "fail": {
                "type": "object", "properties": { "phase": phase, "cause": cause }, "required": ["phase", "cause"],
            } },
            "required": ["fail"],
        });
        let abstain = json_schema!({
            "type": "object", "properties": { "abstain": reason }, "required": ["abstain"],
        });
        json_schema!({
            "type": "object",
            "description": "An observer's vote and its reasons.",
            "properties": {
                "vote": { "oneOf": [{ "enum": ["pass", "warn"] }, fail, abstain] },
                "detail": { "type": "string", "description": "In words." },
                "since": { "type": "integer", "minimum": 0, "description": "Unix milliseconds, by its own clock." },
            },
            "required": ["vote", "detail", "since"],
        })
    }
}

/// One condition on an answer, and how it was met.
pub struct Judgement;

impl JsonSchema for Judgement {
    fn schema_name() -> Cow<'static, str> {
        "Judgement".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let grades: Vec<_> = quorate_core::Grade::ALL.iter().map(|grade| grade.as_str()).collect();
        json_schema!({
            "type": "object",
            "description": "One condition on an answer, and how it was met.",
            "properties": {
                "what": { "type": "string", "description": "The condition in words." },
                "found": { "type": "string", "description": "What was found." },
                "grade": { "enum": grades, "description": "How it was met." },
            },
            "required": ["what", "found", "grade"],
        })
    }
}
