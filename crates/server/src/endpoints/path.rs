//! The paths of endpoints: what one may look like, and which belong to the node itself.

use super::template::is_name;

/// The most bytes of a path.
const PATH_BYTES_MAX: usize = 512;
/// The most parameters in a path.
const PARAMETERS_MAX: usize = 16;

/// First segments that are the node's own, whether it answers at every path below them or not. The
/// empty one is `/`.
const RESERVED: [&str; 8] =
    ["", "v1", "assets", "docs", "healthz", "readyz", "metrics", "openapi.json"];

/// A path that an endpoint may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written; this is also how the router writes patterns.
    text: String,
    /// Its parameters, from left to right; no name stands twice.
    parameters: Vec<String>,
}

impl Pattern {
    /// Reads `/report/{year}`.
    ///
    /// # Errors
    /// Why that is no path of an endpoint.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("a path has at most {PATH_BYTES_MAX} bytes"));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("{text:?} does not begin with a slash"));
        };
        if is_reserved(text) {
            return Err(format!("{text} belongs to the node itself"));
        }
        let mut parameters: Vec<String> = Vec::new();
        for segment in rest.split('/') {
            let Some(name) = parameter(segment)? else { continue };
            if parameters.iter().any(|known| known == name) {
                return Err(format!("the parameter {name:?} stands there twice"));
            }
            parameters.push(name.to_owned());
        }
        if parameters.len() > PARAMETERS_MAX {
            return Err(format!("a path has at most {PARAMETERS_MAX} parameters"));
        }
        Ok(Self { text: text.to_owned(), parameters })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> &[String] {
        &self.parameters
    }

    /// The same for all patterns that match the same paths: parameters have no name.
    pub fn shape(&self) -> String {
        let nameless =
            |segment: &str| if segment.starts_with('{') { "{}" } else { segment }.to_owned();
        self.text.split('/').map(nameless).collect::<Vec<_>>().join("/")
    }
}

/// Whether a path belongs to the node, so that no endpoint is ever looked for there.
pub fn is_reserved(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    let first = path.split('/').next().unwrap_or_default();
    RESERVED.contains(&first)
}

/// The name in braces, if the segment is a parameter.
fn parameter(segment: &str) -> Result<Option<&str>, String> {
    if segment.is_empty() {
        return Err("a path has no empty segments, and no slash at its end".to_owned());
    }
    if matches!(segment, "." | "..") {
        return Err(format!("no client asks for a path with the segment {segment:?}"));
    }
    let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match inner {
        Some(name) if is_name(name) => Ok(Some(name)),
        Some(name) => Err(format!(
            "{name:?} is no parameter's name: it has letters, digits and underscores, and begins \
             with no digit"
        )),
        None if segment.contains(['{', '}']) => {
            Err(format!("in {segment:?} the braces are not the whole segment"))
        }
        None if segment.bytes().all(may_stand_in_path) => Ok(None),
        None => Err(format!("{segment:?} holds what a path only has percent-encoded")),
    }
}

/// RFC 3986, `pchar`: what stands in a request's path as it is.
fn may_stand_in_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_whole_segments_in_braces() {
        let pattern = Pattern::parse("/report/{year}/by-{not").err();
        assert!(pattern.is_some_and(|why| why.contains("whole segment")));
        let pattern = Pattern::parse("/report/{year}/{month}.").err();
        assert!(pattern.is_some());
        let pattern = Pattern::parse("/report/{year}/{month}").expect("a path");
        assert_eq!(pattern.parameters(), ["year", "month"]);
        assert_eq!(pattern.shape(), "/report/{}/{}");
        assert!(Pattern::parse("/getBiggerData").expect("a path").parameters().is_empty());
    }

    #[test]
    fn what_is_the_nodes_own_is_refused() {
        for path in [
            "/",
            "/v1",
            "/v1/tasks",
            "/v1/{x}",
            "/assets/a.js",
            "/docs",
            "/docs/errors",
            "/healthz",
            "/readyz",
            "/metrics",
            "/openapi.json",
        ] {
            assert!(Pattern::parse(path).is_err_and(|why| why.contains("node itself")), "{path}");
        }
        for path in ["/v2", "/{x}", "/document", "/V1"] {
            assert!(Pattern::parse(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in [
            "",
            "a",
            "//a",
            "/a/",
            "/a//b",
            "/a/../b",
            "/a/.",
            "/a b",
            "/ä",
            "/a?b",
            "/{1}",
            "/{}",
            "/{*rest}",
            "/{a}/{a}",
            "/{a",
            "/a}",
            &format!("/{}", "a".repeat(PATH_BYTES_MAX)),
            &(0..=PARAMETERS_MAX).map(|n| format!("/{{p{n}}}")).collect::<String>(),
        ] {
            assert!(Pattern::parse(path).is_err(), "{path}");
        }
    }
}
