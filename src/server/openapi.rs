//! The OpenAPI 3.1 document, made from the table of routes and the schemas of the views.

use axum::Json;
use axum::http::Method;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::routes::{Answer, Make, Route, routes};
use super::views::ErrorBody;

pub(super) async fn answer() -> Json<Value> {
    Json(document())
}

/// The document.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let error = ErrorBody::json_schema(&mut generator).to_value();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let operation = operation(&route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[method_word(&route.method)] = operation;
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Error".to_owned(), error);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Queues, runs and the git side of a Tidegate server.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = path_names(route.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    parameters.extend(route.query.map(|make| query_parameters(make, generator)).unwrap_or_default());
    let mut operation = json!({"operationId": route.id, "summary": route.summary, "parameters": parameters});
    if let Some(make) = route.body {
        let schema = make(generator).to_value();
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    let (status, content) = match route.answer {
        Answer::Json(make) => ("200", json!({"application/json": {"schema": make(generator).to_value()}})),
        Answer::Created(make) => ("201", json!({"application/json": {"schema": make(generator).to_value()}})),
        Answer::Text => ("200", json!({"text/plain": {"schema": {"type": "string"}}})),
        Answer::Events(make) => {
            let data = make(generator).to_value();
            ("200", json!({"text/event-stream": {"schema": {"type": "string", "contentSchema": data}}}))
        }
    };
    let mut responses = Map::new();
    responses.insert(status.to_owned(), json!({"description": "What was asked for.", "content": content}));
    let error = json!({"schema": {"$ref": "#/components/schemas/Error"}});
    responses.insert("default".to_owned(), json!({"description": "Why not.", "content": {"application/json": error}}));
    operation["responses"] = responses.into();
    operation
}

/// The fields of a query as parameters.
fn query_parameters(make: Make, generator: &mut SchemaGenerator) -> Vec<Value> {
    let schema = make(generator).to_value();
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
    // The type is only a list of parameters and does not stand among the schemas.
    let whole = generator.definitions_mut().remove(&name).unwrap_or(schema);
    let required: Vec<&str> = whole["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = whole["properties"].as_object().into_iter().flatten();
    let parameter = |(name, field): (&String, &Value)| {
        let mut field = field.clone();
        let description = field.as_object_mut().and_then(|field| field.remove("description"));
        let needed = required.contains(&name.as_str());
        json!({"name": name, "in": "query", "required": needed, "description": description, "schema": field})
    };
    fields.map(parameter).collect()
}

fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn method_word(method: &Method) -> String {
    method.as_str().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_stands_in_the_document() {
        let document = document();
        let mut ids = BTreeSet::new();
        for route in routes() {
            let operation = &document["paths"][route.path][method_word(&route.method)];
            assert_eq!(operation["operationId"], route.id, "{} {}", route.method, route.path);
            assert!(ids.insert(route.id), "{} is there twice", route.id);
            let named: Vec<&str> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            assert_eq!(named, path_names(route.path).collect::<Vec<_>>());
        }
        let written: usize =
            document["paths"].as_object().unwrap().values().map(|p| p.as_object().unwrap().len()).sum();
        assert_eq!(written, ids.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for part in text.split("\"$ref\":\"").skip(1) {
            let pointer = part.split('"').next().unwrap().trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{pointer} is missing");
        }
        assert!(text.contains("#/components/schemas/RunView"));
        let parameters = &document["paths"]["/api/v1/runs"]["get"]["parameters"];
        assert!(
            parameters.as_array().unwrap().iter().any(|p| p["name"] == "status" && p["in"] == "query"),
            "{parameters}"
        );
    }
}
