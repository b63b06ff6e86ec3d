//! A stack that source code cannot overflow. The parser and its visitors recurse as deep as the
//! source nests, and a stack that overflows ends the whole process. So each source is read on a
//! stack sized for the worst that its length allows; what is never touched costs nothing.

use std::thread;

use parking_lot::Mutex;

use super::Rejection;

/// The most stack that a byte of source was seen to take is between 1 and 2 KiB, by `[` and `(`.
const STACK_BYTES_PER_SOURCE_BYTE: usize = 3 << 10;

/// What reading takes beside the recursion.
const STACK_BYTES_MIN: usize = 1 << 20;

/// Sources up to this are safe on any thread's own stack.
const SMALL_SOURCE_BYTES: usize = 256;

/// Longer sources are read one at a time, so that hostile ones cannot add up.
const LARGE_SOURCE_BYTES: usize = 64 << 10;

/// How deep the brackets of longer sources may nest, which takes stack, and so memory, like nothing
/// else does. Counted without regard to strings, so the bound is far beyond what code has.
const LARGE_SOURCE_NESTING_MAX: i32 = 20_000;

/// The longest source that is read at all.
const SOURCE_BYTES_MAX: usize = 4 << 20;

static LARGE: Mutex<()> = Mutex::new(());

/// Runs `read` with stack enough for `source`.
///
/// # Errors
/// `compile_too_costly`: the source is longer than 4 MiB, or the machine has no room.
pub fn with_stack_for<T: Send>(
    source: &str,
    read: impl FnOnce() -> T + Send,
) -> Result<T, Rejection> {
    if source.len() <= SMALL_SOURCE_BYTES {
        return Ok(read());
    }
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("the source has {} bytes; 4 MiB is the most", source.len());
        return Err(Rejection::new("compile_too_costly", message));
    }
    if takes_long(source) {
        return Err(Rejection::new("compile_too_costly", "the source would take too long to read"));
    }
    let is_large = source.len() > LARGE_SOURCE_BYTES;
    if is_large && nesting(source) > LARGE_SOURCE_NESTING_MAX {
        return Err(Rejection::new("compile_too_costly", "the source nests too deep"));
    }
    let _turn = is_large.then(|| LARGE.lock());
    let stack_bytes = STACK_BYTES_MIN + source.len() * STACK_BYTES_PER_SOURCE_BYTE;
    let read = thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(stack_bytes).spawn_scoped(scope, read);
        reader.map(|reader| reader.join())
    });
    match read {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_panic)) => Err(Rejection::new("syntax_error", "the source could not be read")),
        Err(error) => {
            let message = format!("no room to read the source: {error}");
            Err(Rejection::new("compile_too_costly", message))
        }
    }
}

/// What takes the parser the square of its number, and how many of each are read: well beyond what
/// code has, and a second or two at the most.
const SLOW_WORDS: [(&str, usize); 2] = [("extends", 10_000), ("await", 50_000)];
const SLOW_OPEN_ANGLES_MAX: i32 = 2_000;

fn takes_long(source: &str) -> bool {
    // An arrow closes one too many, so that only what really stays open adds up.
    let mut open_angles = 0;
    for byte in source.bytes() {
        match byte {
            b'<' => open_angles += 1,
            b'>' => open_angles = (open_angles - 1).max(0),
            // What is open at the end of a statement were comparisons.
            b';' => open_angles = 0,
            _ => {}
        }
        if open_angles > SLOW_OPEN_ANGLES_MAX {
            return true;
        }
    }
    SLOW_WORDS.iter().any(|(word, most)| source.matches(word).nth(*most).is_some())
}

/// The depth of the deepest bracket.
fn nesting(source: &str) -> i32 {
    let mut depth = 0;
    let mut deepest = 0;
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use crate::accept::{SourceLanguage, accept};

    /// Each of these took minutes or all memory.
    #[test]
    fn what_takes_the_square_of_its_length_is_refused_or_quick() {
        let refused = [
            format!("a{}>(1)", "<a".repeat(30_000)),
            format!("type A={}1", "B extends C?".repeat(100_000)),
            format!("{}1", "await ".repeat(200_000)),
        ];
        for source in refused {
            let read = accept(source.into(), SourceLanguage::TypeScript);
            assert_eq!(read.map(drop).map_err(|refused| refused.code), Err("compile_too_costly"));
        }
        let nested = format!("{}{}", "{".repeat(15_000), "}".repeat(15_000));
        let read = accept(nested.into(), SourceLanguage::TypeScript).expect("is code");
        // With its source map; indented it would be a thousand times as much.
        assert!(read.bytes.len() < 1_000_000, "{}", read.bytes.len());
    }

    /// Each of these nests as deep as it is long. That the process survives is the assertion.
    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        let openings = [
            "(",
            "[",
            "{",
            "!",
            "-",
            "- -",
            "typeof ",
            "new ",
            "await ",
            "a=>",
            "a?b:",
            "a?",
            "1+",
            "a.b(",
            "a[",
            "`${",
            "if(1)",
            "if(1);else ",
            "for(;;)",
            "()=>{",
            "class{static{",
            "x=",
            "function f(){",
            "a,",
            "a**",
            "a??",
            "a.b.",
            "a()",
            "({a:",
            "[...",
            "async()=>",
            "x:",
            "do ",
            "while(1)",
            "try{",
        ];
        let types = [
            "let a:A<",
            "type A=",
            "let x:(",
            "let x:[",
            "type A=B extends C?",
            "let x:{a:",
            "<A>",
            "let a:A|",
            "type A=keyof ",
        ];
        for bytes in [20_000, 60_000] {
            for opening in openings.iter().chain(&types) {
                let parts = opening.strip_prefix("let ").and_then(|rest| rest.split_once(':'));
                let repeated = parts.map_or(*opening, |(_, kind)| kind);
                let source = format!("{opening}{}", repeated.repeat(bytes / repeated.len()));
                for (language, end) in [
                    (SourceLanguage::JavaScript, ""),
                    (SourceLanguage::TypeScript, ""),
                    (SourceLanguage::JavaScript, "1"),
                    (SourceLanguage::TypeScript, "1"),
                ] {
                    let source = format!("{source}{end}");
                    // Most of these are wrong, some are right: both must be told.
                    let _ = accept(source.into(), language);
                }
            }
            for (open, inner, close) in [
                ("(", "1", ")"),
                ("[", "", "]"),
                ("{", "", "}"),
                ("(()=>{", "", "})"),
                ("f(", "", ")"),
                ("if(1){", "", "}"),
            ] {
                let count = bytes / (open.len() + close.len());
                let source = format!("{}{inner}{}", open.repeat(count), close.repeat(count));
                let read = accept(source.into(), SourceLanguage::TypeScript);
                assert!(read.is_ok(), "{open}: {read:?}");
                let source = open.repeat(1_000_000);
                let read = accept(source.into(), SourceLanguage::JavaScript);
                assert_eq!(
                    read.map(drop).map_err(|refused| refused.code),
                    Err("compile_too_costly")
                );
            }
        }
    }
}
