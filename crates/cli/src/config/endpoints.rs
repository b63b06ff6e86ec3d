//! The `[[endpoint]]` tables of a node's file. What an endpoint may be is the server's to say; this
//! reads them and finds the line that is wrong.

use runabout_protocol::EndpointRequest;
use runabout_server::{Misfit, check_endpoints, unexpected};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{Wrong, not_toml};

/// The key of the tables.
pub const KEY: &str = "endpoint";

/// Takes the endpoints out of a file.
///
/// # Errors
/// The first thing that is wrong with them, and where.
pub fn take(file: &mut DeTable<'_>) -> Result<Vec<EndpointRequest>, Wrong> {
    let Some(tables) = file.remove(KEY) else { return Ok(Vec::new()) };
    let start = tables.span().start;
    let DeValue::Array(tables) = tables.into_inner() else {
        return Err((start, format!("an endpoint begins with [[{KEY}]]")));
    };
    let endpoints = tables.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    check_endpoints(&endpoints).map_err(|misfit| (place_of(&misfit, &tables), told(&misfit)))?;
    Ok(endpoints)
}

fn read(table: &Spanned<DeValue<'_>>) -> Result<EndpointRequest, Wrong> {
    if let Some(at) = date_in(table) {
        return Err((at, "there are no dates here; write it as a string".to_owned()));
    }
    EndpointRequest::deserialize(ValueDeserializer::from(table.clone())).map_err(|error| {
        let (at, message) = not_toml(&error);
        (at, with_nearest(message))
    })
}

/// Where a date stands, if there is one: it has no form in JSON.
fn date_in(value: &Spanned<DeValue<'_>>) -> Option<usize> {
    match value.get_ref() {
        DeValue::Datetime(_) => Some(value.span().start),
        DeValue::Array(items) => items.iter().find_map(date_in),
        DeValue::Table(table) => table.values().find_map(date_in),
        _ => None,
    }
}

/// Says which known key is nearest to one that is not known.
fn with_nearest(message: String) -> String {
    let Some((key, known)) = unexpected(&message, "unknown field `") else { return message };
    let nearest = known.into_iter().min_by_key(|known| strsim::damerau_levenshtein(known, key));
    let nearest = nearest.unwrap_or_default();
    format!("an endpoint has no key {key:?}; the nearest is {nearest:?}")
}

/// Where the key of a misfit stands, or else its endpoint.
fn place_of(misfit: &Misfit, tables: &[Spanned<DeValue<'_>>]) -> usize {
    let Some(table) = tables.get(misfit.index) else { return 0 };
    let mut place = table.span().start;
    let mut value = table.get_ref();
    for part in misfit.invalid.field.split('.') {
        let key = part.split('[').next().unwrap_or_default();
        let DeValue::Table(table) = value else { break };
        let Some((key, inner)) = table.get_key_value(key) else { break };
        place = key.span().start;
        value = inner.get_ref();
    }
    place
}

fn told(misfit: &Misfit) -> String {
    let message = misfit.to_string();
    match &misfit.invalid.suggestion {
        // The detail says it already, but for a rule, of which it names one word.
        Some(suggestion) if !message.contains(suggestion.as_str()) => {
            format!("{message} ({suggestion:?})")
        }
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::File;

    fn read(text: &str) -> Result<File, String> {
        File::from_toml(text, Path::new("runabout.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn endpoints_stand_beside_settings() {
        let file = read(
            "slots = 2\n[[endpoint]]\npath = '/f/{n}'\nfunction = 'fib@3'\nargs = ['{n}', 34, \
             {a = 1.5}]\noffload = 'n > 32'\n[[endpoint]]\npath = '/g'\nfunction = 'g'\n\
             methods = ['GET']\n",
        )
        .expect("is read");
        assert_eq!(file.wishes.slots, Some(2));
        let found = serde_json::to_string(&file.endpoints).expect("JSON");
        let expected = r#"[{"path":"/f/{n}","function":"fib@3","args":["{n}",34,{"a":1.5}],"offload":"n > 32"},{"path":"/g","methods":["GET"],"function":"g"}]"#;
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let good = "[[endpoint]]\npath = '/f'\nfunction = 'f'\n";
        for (text, line, why) in [
            ("[[endpoint]]\npath = '/f'\nfuncton = 'f'\n", 3, "the nearest is \"function\""),
            ("[[endpoint]]\nfunction = 'f'\n", 1, "missing field `path`"),
            ("[[endpoint]]\npath = '/v1/f'\nfunction = 'f'\n", 2, "path: /v1/f belongs to"),
            ("[endpoint]\npath = '/f'\n", 1, "begins with [[endpoint]]"),
            ("endpoint = 3\n", 1, "begins with [[endpoint]]"),
            (&format!("{good}\n{good}"), 6, "matches the same paths"),
            (&format!("{good}args = [\n  '{{n'\n]\n"), 4, "args[0]: in \"{n\" a brace"),
            (&format!("{good}args = [1979-05-27]\n"), 4, "no dates"),
            (&format!("{good}args = ['{{year}}']\noffload = 'yaer > 1'\n"), 5, "(\"year > 1\")"),
            (&format!("{good}offload = 1\n"), 4, "expected a string"),
            (&format!("{good}methods = ['PUT']\n"), 4, "unknown variant `PUT`"),
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.starts_with(&format!("runabout.toml:{line}: ")), "{text}: {refused}");
            assert!(refused.contains(why) && !refused.contains('\n'), "{text}: {refused}");
        }
    }
}
