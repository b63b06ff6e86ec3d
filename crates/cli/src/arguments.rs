//! Arguments of a function and labels of a task, from words of the command line.

use runabout_protocol::{Arguments, Json};
use serde_json::value::RawValue;

/// Reads each word as JSON where it is JSON, and takes it as a string where it is not.
pub fn from_words(words: &[String]) -> Arguments {
    Arguments { values: array(words), encoding: None }
}

/// The same as a JSON array.
pub fn array(words: &[String]) -> Json {
    let values: Vec<Json> = words.iter().map(|word| value(word)).collect();
    Json::of(&values).expect("an array of JSON values has a JSON form")
}

/// Reads a label.
///
/// # Errors
/// It has no `=`.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn value(word: &str) -> Json {
    // Not `Json::parse`: surrounding white space would make the word JSON that it does not look
    // like, and would be lost.
    match serde_json::from_str::<&RawValue>(word) {
        Ok(raw) if raw.get().len() == word.len() => {
            Json::parse(word.to_owned()).unwrap_or_else(|_| Json::string(word))
        }
        _ => Json::string(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expected: &str) {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        assert_eq!(array(&words).text(), expected);
    }

    #[test]
    fn words_that_are_json_are_json() {
        check(&["34", "-1.50", "true", "null"], "[34,-1.50,true,null]");
        check(&["[1,2]", r#"{"a":"b"}"#, r#""34""#], r#"[[1,2],{"a":"b"},"34"]"#);
    }

    #[test]
    fn other_words_are_strings() {
        check(&["hello", "two words", "", "1px", "-x"], r#"["hello","two words","","1px","-x"]"#);
    }

    #[test]
    fn white_space_around_a_number_makes_it_text() {
        check(&[" 34 "], r#"[" 34 "]"#);
    }

    #[test]
    fn no_words_are_no_arguments() {
        check(&[], "[]");
    }
}
