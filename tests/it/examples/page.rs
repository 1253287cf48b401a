//! The pages that show the examples.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::call::Example;

/// Lists longer than this are cut when they are shown.
const ITEMS_SHOWN: usize = 4;
/// How wide a line of JSON may be.
const COLUMNS: usize = 100;

/// The pages by the name of their file: one a service, with its methods in the order of the contract.
pub fn pages(methods: &[String], examples: &[Example]) -> BTreeMap<String, String> {
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    for method in methods {
        let (service, name) = method.split_once('/').unwrap();
        let file = format!("{}.md", service.trim_end_matches("Service").to_lowercase());
        let page = pages.entry(file).or_insert_with(|| beginning(service));
        write!(page, "\n## {name}\n").unwrap();
        for example in examples.iter().filter(|example| example.call == *method) {
            show(page, example);
        }
    }
    pages
}

fn beginning(service: &str) -> String {
    format!(
        "# Examples of {service}\n\nEach was sent to the service and answered as it stands here, by the test that wrote this \
         page. Identifiers, etags and tokens\nare other ones in every database; long lists are cut.\n"
    )
}

fn show(page: &mut String, example: &Example) {
    let messages = |values: &[Value]| {
        let each = values.iter().map(|value| written(&shortened(value), 0));
        each.collect::<Vec<_>>().join("\n")
    };
    write!(
        page,
        "\n{}\n\n```sh\ngrpcurl -plaintext -d '{}' \\\n  127.0.0.1:50051 graduated_response.v1.{}\n```\n\n```json\n{}\n```\n",
        example.about,
        messages(&example.requests),
        example.call,
        messages(&example.responses)
    )
    .unwrap();
}

/// A value as JSON, with whatever fits on a line in one.
fn written(value: &Value, depth: usize) -> String {
    let joined = |[open, close]: [char; 2], items: Vec<String>, broken: bool| {
        let width = items.iter().map(|item| item.len() + 2).sum::<usize>() + 2 * depth;
        if broken || width > COLUMNS || items.iter().any(|item| item.contains('\n')) {
            let inner = format!("\n{}", "  ".repeat(depth + 1));
            let outer = format!("\n{}", "  ".repeat(depth));
            format!("{open}{inner}{}{outer}{close}", items.join(&format!(",{inner}")))
        } else {
            format!("{open}{}{close}", items.join(", "))
        }
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let items = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), written(value, depth + 1)));
            joined(['{', '}'], items.collect(), depth == 0)
        }
        Value::Array(values) => {
            let items = values.iter().map(|value| written(value, depth + 1));
            joined(['[', ']'], items.collect(), false)
        }
        other => other.to_string(),
    }
}

fn shortened(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), shortened(value)));
            Value::Object(fields.collect())
        }
        Value::Array(values) => {
            let mut shown: Vec<Value> = values.iter().take(ITEMS_SHOWN).map(shortened).collect();
            if values.len() > ITEMS_SHOWN {
                shown.push(Value::String(format!("... {} more", values.len() - ITEMS_SHOWN)));
            }
            Value::Array(shown)
        }
        other => other.clone(),
    }
}
