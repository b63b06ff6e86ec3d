//! Guests that are too large or too broken to be written down: they are made when they are sent.

use std::fmt::Write as _;

use crate::guest;

/// A module of that name.
pub fn module(name: &str) -> Vec<u8> {
    match name {
        "not_wasm" => b"#!/bin/sh\nrm -rf /\n".to_vec(),
        "truncated" => {
            let mut module = guest("fib.wasm");
            module.truncate(module.len() / 2);
            module
        }
        "noise" => {
            let mut module = b"\0asm\x01\0\0\0".to_vec();
            module.extend(noise(64 << 10));
            module
        }
        "a_section_of_4_gib" => {
            let mut module = b"\0asm\x01\0\0\0\x0a".to_vec();
            module.extend(leb(u32::MAX));
            module
        }
        "component" => b"\0asm\x0d\0\x01\0".to_vec(),
        "many_functions" => functions(vec![vec![0, END]; 100_001]),
        "a_huge_function" => functions(vec![body(&[NOP; 600 << 10])]),
        "a_huge_br_table" => functions(vec![body(&br_table(500_000))]),
        "much_code" => functions(vec![body(&[NOP; 500 << 10]); 34]),
        "a_million_exports" => many_exports(1_000_000),
        "ten_thousand_exports" => many_exports(10_000),
        "deep_blocks" => functions(vec![body(&deep_blocks(150_000))]),
        "many_locals_and_calls" => functions(vec![many_locals_and_calls(3_000, 20_000)]),
        other => panic!("nothing makes the module {other}"),
    }
}

/// JavaScript of that name.
pub fn source(name: &str) -> String {
    match name {
        "deep_brackets" => format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)),
        "deeper_brackets" => format!("{}{}", "[".repeat(300_000), "]".repeat(300_000)),
        "too_long" => format!("/*{}*/ 1", "x".repeat(5 << 20)),
        "a_long_sum" => format!("1{}", "+1".repeat(200_000)),
        "many_exports" => (0..200_000).fold(String::new(), |mut source, index| {
            write!(source, "export let e{index};").expect("a String grows");
            source
        }),
        "many_names" => (0..20_000).fold(String::new(), |mut source, index| {
            write!(source, "var v{index} = {{}};").expect("a String grows");
            source
        }),
        "a_forged_source_map" => with_map("throw new Error('mapped')", FORGED_MAP),
        "a_huge_source_map" => with_map(
            "const e = new Error('mapped'); e.stack = '    at f (function.js:1:1)\\n'.repeat(200_000); throw e",
            &format!(
                r#"{{"version":3,"sources":["a"],"names":[],"mappings":"{}"}}"#,
                "AAAA,".repeat(500_000)
            ),
        ),
        other => panic!("nothing makes the source {other}"),
    }
}

/// JSON arguments of that name.
pub fn args(name: &str) -> String {
    match name {
        "deep" => format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000)),
        "many" => format!("[{}0]", "0,".repeat(1_000_000)),
        "six_mib" => format!("[\"{}\"]", "x".repeat((6 << 20) - 4)),
        "more_than_six_mib" => format!("[\"{}\"]", "x".repeat(6 << 20)),
        "a_long_number" => format!("[1{}]", "0".repeat(1_000_000)),
        other => panic!("nothing makes the arguments {other}"),
    }
}

/// Places that are not there, in a map of a script's own making.
const FORGED_MAP: &str = r#"{"version":3,"sources":[],"names":[],"mappings":"AAggggggggggggE,gggggggggC;;;+/+/+/+/+/+/+D"}"#;

const NOP: u8 = 0x01;
const BLOCK: u8 = 0x02;
const END: u8 = 0x0b;
const BR_TABLE: u8 = 0x0e;
const CALL: u8 = 0x10;
const LOCAL_GET: u8 = 0x20;
const LOCAL_SET: u8 = 0x21;
const I32: u8 = 0x7f;
const NO_TYPE: u8 = 0x40;

fn with_map(code: &str, map: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::new();
    for bytes in map.as_bytes().chunks(3) {
        let word = bytes.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - bytes.len()));
        for index in 0..4 {
            let digit = (word >> (18 - 6 * index)) & 63;
            let letter = match index > bytes.len() {
                true => '=',
                false => BASE64[digit as usize] as char,
            };
            write!(encoded, "{letter}").expect("a String grows");
        }
    }
    format!("{code}\n//# sourceMappingURL=data:application/json;charset=utf-8;base64,{encoded}")
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The same noise every time.
fn noise(count: usize) -> impl Iterator<Item = u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(count)
}

/// A module of functions `() -> ()` with these bodies, the first of them exported as `f`.
fn functions(bodies: Vec<Vec<u8>>) -> Vec<u8> {
    let count = bodies.len();
    let mut module = head(count, &[("f".to_owned(), 0)]);
    let code = bodies.into_iter().map(|body| sized(&body));
    section(&mut module, 10, &list(count, code));
    module
}

fn many_exports(count: usize) -> Vec<u8> {
    let names: Vec<_> = (0..count).map(|index| (format!("e{index}"), 0)).collect();
    let mut module = head(1, &names);
    section(&mut module, 10, &list(1, [sized(&[0, END])]));
    module
}

/// All but the code.
fn head(count: usize, exports: &[(String, u32)]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    section(&mut module, 3, &list(count, std::iter::repeat_n(vec![0], count)));
    let entries = exports.iter().map(|(name, index)| {
        let mut entry = sized(name.as_bytes());
        entry.push(0);
        entry.extend(leb(*index));
        entry
    });
    section(&mut module, 7, &list(exports.len(), entries));
    module
}

fn section(module: &mut Vec<u8>, id: u8, content: &[u8]) {
    module.push(id);
    module.extend(sized(content));
}

fn list(count: usize, items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = leb(count as u32);
    bytes.extend(items.into_iter().flatten());
    bytes
}

fn sized(content: &[u8]) -> Vec<u8> {
    let mut bytes = leb(content.len() as u32);
    bytes.extend_from_slice(content);
    bytes
}

/// A body without locals.
fn body(code: &[u8]) -> Vec<u8> {
    [&[0], code, &[END]].concat()
}

fn br_table(targets: usize) -> Vec<u8> {
    let mut code = vec![LOCAL_I32_CONST, 0, BR_TABLE];
    code.extend(leb(targets as u32));
    code.extend(std::iter::repeat_n(0, targets + 1));
    code
}

const LOCAL_I32_CONST: u8 = 0x41;

fn deep_blocks(depth: usize) -> Vec<u8> {
    let mut code = [BLOCK, NO_TYPE].repeat(depth);
    code.extend(std::iter::repeat_n(END, depth));
    code
}

/// Every local is alive across every call, which takes who assigns registers the most time.
fn many_locals_and_calls(locals: usize, calls: usize) -> Vec<u8> {
    let mut code = vec![1];
    code.extend(leb(locals as u32));
    code.push(I32);
    let local = |index: usize| leb((index % locals) as u32);
    for call in 0..calls {
        code.push(LOCAL_GET);
        code.extend(local(call * 7));
        code.push(LOCAL_SET);
        code.extend(local(call * 13 + 1));
        code.extend([CALL, 0]);
    }
    for index in 0..locals {
        code.push(LOCAL_GET);
        code.extend(local(index));
        code.push(LOCAL_SET);
        code.extend(local(index + 1));
    }
    code.push(END);
    code
}

fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}
