//! Adds two functions to QuickJS: one evaluates code, the other takes a run from there to the text of its
//! result. What would be a dozen calls from the host, each with its own way in and out, is then two, or
//! one where the code was evaluated before.

use wasmtime::error::Context as _;
use wasmtime::{Result, bail};

/// The names under which the functions are exported.
pub const EVALUATE: &str = "runabout_evaluate";
pub const BEGIN: &str = "runabout_begin";

/// Where things stand in the frame, which is either function's only parameter: what it needs to know, and
/// what it hands back.
pub mod frame {
    pub const CONTEXT: u32 = 0;
    pub const RUNTIME: u32 = 4;
    pub const MAIL: u32 = 8;
    pub const FILE_NAME: u32 = 12;
    pub const UNDEFINED: u32 = 16;
    pub const TAKE: u32 = 24;
    /// The request as JSON, with a zero byte behind it; 0 if there is none. Here begins what the
    /// sandbox writes for each run: this, its length, how many of the arguments the entry point is
    /// given, a gap, what was compiled, and the entry point of the prelude that goes on.
    pub const REQUEST: u32 = 32;
    pub const REQUEST_BYTES: u32 = 36;
    pub const ARGUMENT_COUNT: u32 = 40;
    pub const COMPILED: u32 = 48;
    pub const ENTRY: u32 = 56;
    /// The entry point's arguments: what the evaluation gave, the namespace, the request.
    pub const ARGUMENTS: u32 = 64;
    pub const NAMESPACE: u32 = ARGUMENTS + 8;
    pub const PARSED: u32 = ARGUMENTS + 16;
    pub const JOB_CONTEXT: u32 = 88;
    /// How long the text is whose address is the answer.
    pub const TEXT_BYTES: u32 = 92;
    pub const BYTES: u32 = 96;
}

/// What the functions answer, but for an address, which is larger than these.
mod answer {
    /// Look at the mail.
    pub const SEE_MAIL: i32 = 0;
    /// The code threw; the exception waits.
    pub const THREW: i32 = 1;
    /// The engine is broken.
    pub const BROKEN: i32 = 2;
    /// A promise job threw; the exception waits.
    pub const JOB_THREW: i32 = 3;
    /// The code is a module that has been evaluated to its end, and left nothing to do.
    pub const SETTLED: i32 = 4;
}

/// Adds the functions to `quickjs`, a Wasm module.
///
/// # Errors
/// The module is not made as QuickJS's is.
pub fn add(quickjs: &[u8]) -> Result<Vec<u8>> {
    let sections = sections(quickjs)?;
    let find = |id: u8| {
        let found = sections.iter().find(|section| section.id == id);
        found.with_context(|| format!("quickjs.wasm has no section {id}"))
    };
    let imports = imported_functions(find(IMPORTS)?.payload)?;
    let exports = exported_functions(find(EXPORTS)?.payload)?;
    let call = |name: &str| -> Result<u32> {
        let found = exports.iter().find(|(known, _)| known == name);
        found.map(|(_, index)| *index).with_context(|| format!("quickjs.wasm has no {name}"))
    };
    let api = Api {
        evaluate: call("JS_EvalFunction")?,
        namespace: call("JS_GetModuleNamespace")?,
        promise_state: call("JS_PromiseState")?,
        is_job_pending: call("JS_IsJobPending")?,
        parse: call("JS_ParseJSON")?,
        call: call("JS_Call")?,
        run_job: call("JS_ExecutePendingJob")?,
        text: call("JS_ToCStringLen2")?,
    };
    let bodies = [evaluating(&api), beginning(&api)];
    let type_index = Reader(find(TYPES)?.payload).number()?;
    let index = imports + Reader(find(FUNCTIONS)?.payload).number()?;

    let mut module = quickjs[..HEADER_BYTES].to_vec();
    let exported = |name: &str, index| {
        [number(name.len() as u32), name.into(), vec![0], number(index)].concat()
    };
    for section in &sections {
        let entries = match section.id {
            // (i32) -> i32
            TYPES => vec![vec![0x60, 1, 0x7f, 1, 0x7f]],
            FUNCTIONS => vec![number(type_index); 2],
            EXPORTS => vec![exported(EVALUATE, index), exported(BEGIN, index + 1)],
            CODE => {
                bodies.iter().map(|body| [&number(body.len() as u32), &body[..]].concat()).collect()
            }
            _ => {
                append(&mut module, section.id, section.payload);
                continue;
            }
        };
        let mut reader = Reader(section.payload);
        let count = number(reader.number()? + entries.len() as u32);
        append(&mut module, section.id, &[&count, reader.0, &entries.concat()].concat());
    }
    Ok(module)
}

/// What the functions call, by index.
struct Api {
    evaluate: u32,
    namespace: u32,
    promise_state: u32,
    is_job_pending: u32,
    parse: u32,
    call: u32,
    run_job: u32,
    text: u32,
}

/// A function's locals: its parameter, the context, a value, a number.
const FRAME: u32 = 0;
const CONTEXT: u32 = 1;
const VALUE: u32 = 2;
const NUMBER: u32 = 3;

/// From compiled code to what comes of evaluating it.
fn evaluating(api: &Api) -> Vec<u8> {
    let mut code = Code::begin();
    // A script gives its last value, a module a promise.
    code.get(CONTEXT).load_i64(frame::COMPILED).call(api.evaluate).set(VALUE);
    code.return_if_exception(answer::THREW).store(frame::ARGUMENTS);
    code.load_i32(frame::ARGUMENT_COUNT).constant(SCRIPT_ARGUMENTS).same();
    code.when().constant(answer::SEE_MAIL).give_back().end();
    code.get(CONTEXT).get(VALUE).call(api.promise_state).constant(FULFILLED).same();
    code.load_i32(frame::RUNTIME).call(api.is_job_pending).zero().and().set(NUMBER);
    // A module's value is its address.
    code.get(CONTEXT).load_i32(frame::COMPILED).call(api.namespace).set(VALUE);
    code.return_if_exception(answer::THREW).store(frame::NAMESPACE);
    code.get(NUMBER).when().constant(answer::SETTLED).give_back().end();
    code.constant(answer::SEE_MAIL).end();
    code.0
}

/// From evaluated code to the text of the result.
fn beginning(api: &Api) -> Vec<u8> {
    let mut code = Code::begin();
    code.load_i32(frame::REQUEST).when();
    {
        code.get(CONTEXT).load_i32(frame::REQUEST).load_i32(frame::REQUEST_BYTES);
        code.load_i32(frame::FILE_NAME).call(api.parse).set(VALUE);
        code.return_if_exception(answer::THREW).store(frame::PARSED);
    }
    code.end();
    code.get(CONTEXT).load_i64(frame::ENTRY).load_i64(frame::UNDEFINED);
    code.load_i32(frame::ARGUMENT_COUNT).address_of(frame::ARGUMENTS).call(api.call).set(VALUE);
    code.return_if_exception(answer::BROKEN);

    // Promise jobs until there are none.
    code.repeat();
    code.load_i32(frame::RUNTIME).address_of(frame::JOB_CONTEXT).call(api.run_job).set(NUMBER);
    code.get(NUMBER).constant(0).greater().again_if(0);
    code.end();
    code.get(NUMBER).constant(0).less().when().constant(answer::JOB_THREW).give_back().end();

    // The text, if the run has one and no timer may change it.
    code.mail(0).float(STATE_THREW).equal();
    code.mail(0).float(STATE_RETURNED).equal();
    code.mail(16).float(0.0).equal().load_i32(frame::REQUEST).constant(0).differs().or();
    code.and().or().zero().when().constant(answer::SEE_MAIL).give_back().end();
    code.get(CONTEXT).load_i64(frame::TAKE).load_i64(frame::UNDEFINED);
    code.constant(0).constant(0).call(api.call).set(VALUE);
    code.return_if_exception(answer::BROKEN);
    code.get(CONTEXT).address_of(frame::TEXT_BYTES).get(VALUE).constant(0).call(api.text);
    code.set(NUMBER);
    code.get(NUMBER).zero().when().constant(answer::BROKEN).give_back().end();
    code.get(NUMBER).end();
    code.0
}

/// How many arguments a script's entry point is given.
const SCRIPT_ARGUMENTS: i32 = 1;

/// QuickJS's `JS_PROMISE_FULFILLED`.
const FULFILLED: i32 = 1;

/// What the prelude writes in its mail.
const STATE_RETURNED: f64 = 1.0;
const STATE_THREW: f64 = 3.0;

/// The upper half of a value that stands for an exception.
const EXCEPTION: i64 = 6 << 32;
const UPPER_HALF: i64 = -1 << 32;

/// Instructions, written down.
struct Code(Vec<u8>);

impl Code {
    fn begin() -> Self {
        // Locals beside the parameter: an i32, an i64, an i32.
        let mut code = Self(vec![3, 1, 0x7f, 1, 0x7e, 1, 0x7f]);
        code.load_i32(frame::CONTEXT).set(CONTEXT);
        code
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    fn with_number(&mut self, instruction: u8, value: u32) -> &mut Self {
        self.0.push(instruction);
        self.0.extend(number(value));
        self
    }

    fn get(&mut self, local: u32) -> &mut Self {
        self.with_number(0x20, local)
    }

    fn set(&mut self, local: u32) -> &mut Self {
        self.with_number(0x21, local)
    }

    fn call(&mut self, function: u32) -> &mut Self {
        self.with_number(0x10, function)
    }

    fn load_i32(&mut self, offset: u32) -> &mut Self {
        self.get(FRAME).put(&[0x28, 2]).put(&number(offset))
    }

    fn load_i64(&mut self, offset: u32) -> &mut Self {
        self.get(FRAME).put(&[0x29, 3]).put(&number(offset))
    }

    /// Keeps the value in the frame.
    fn store(&mut self, offset: u32) -> &mut Self {
        self.get(FRAME).get(VALUE).put(&[0x37, 3]).put(&number(offset))
    }

    fn address_of(&mut self, offset: u32) -> &mut Self {
        self.get(FRAME).constant(offset as i32).put(&[0x6a])
    }

    /// A number of the mail, by the byte where it begins.
    fn mail(&mut self, offset: u32) -> &mut Self {
        self.load_i32(frame::MAIL).put(&[0x2b, 3]).put(&number(offset))
    }

    fn constant(&mut self, value: i32) -> &mut Self {
        self.put(&[0x41]).put(&signed(value.into()))
    }

    fn float(&mut self, value: f64) -> &mut Self {
        self.put(&[0x44]).put(&value.to_le_bytes())
    }

    fn equal(&mut self) -> &mut Self {
        self.put(&[0x61])
    }

    fn greater(&mut self) -> &mut Self {
        self.put(&[0x4a])
    }

    fn less(&mut self) -> &mut Self {
        self.put(&[0x48])
    }

    fn differs(&mut self) -> &mut Self {
        self.put(&[0x47])
    }

    fn same(&mut self) -> &mut Self {
        self.put(&[0x46])
    }

    fn zero(&mut self) -> &mut Self {
        self.put(&[0x45])
    }

    fn and(&mut self) -> &mut Self {
        self.put(&[0x71])
    }

    fn or(&mut self) -> &mut Self {
        self.put(&[0x72])
    }

    fn when(&mut self) -> &mut Self {
        self.put(&[0x04, 0x40])
    }

    fn repeat(&mut self) -> &mut Self {
        self.put(&[0x03, 0x40])
    }

    fn again_if(&mut self, depth: u32) -> &mut Self {
        self.with_number(0x0d, depth)
    }

    fn end(&mut self) -> &mut Self {
        self.put(&[0x0b])
    }

    fn give_back(&mut self) -> &mut Self {
        self.put(&[0x0f])
    }

    fn return_if_exception(&mut self, answer: i32) -> &mut Self {
        self.get(VALUE).put(&[0x42]).put(&signed(UPPER_HALF)).put(&[0x83]);
        self.put(&[0x42]).put(&signed(EXCEPTION)).put(&[0x51]);
        self.when().constant(answer).give_back().end()
    }
}

pub const HEADER_BYTES: usize = 8;
const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
pub const EXPORTS: u8 = 7;
const CODE: u8 = 10;

pub struct Section<'a> {
    pub id: u8,
    pub payload: &'a [u8],
}

pub fn sections(module: &[u8]) -> Result<Vec<Section<'_>>> {
    let mut reader = Reader(module);
    reader.bytes(HEADER_BYTES)?;
    let mut sections = Vec::new();
    while !reader.0.is_empty() {
        let id = reader.byte()?;
        let length = reader.number()? as usize;
        sections.push(Section { id, payload: reader.bytes(length)? });
    }
    Ok(sections)
}

pub fn append(module: &mut Vec<u8>, id: u8, payload: &[u8]) {
    module.push(id);
    module.extend(number(payload.len() as u32));
    module.extend(payload);
}

/// How many functions are imported; QuickJS imports nothing else.
fn imported_functions(payload: &[u8]) -> Result<u32> {
    let mut reader = Reader(payload);
    let count = reader.number()?;
    for _ in 0..count {
        reader.name()?;
        reader.name()?;
        if reader.byte()? != 0 {
            bail!("quickjs.wasm imports something that is no function");
        }
        reader.number()?;
    }
    Ok(count)
}

fn exported_functions(payload: &[u8]) -> Result<Vec<(String, u32)>> {
    let mut reader = Reader(payload);
    let mut functions = Vec::new();
    for _ in 0..reader.number()? {
        let name = String::from_utf8_lossy(reader.name()?).into_owned();
        let is_function = reader.byte()? == 0;
        let index = reader.number()?;
        if is_function {
            functions.push((name, index));
        }
    }
    Ok(functions)
}

/// Reads the binary format.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count).context("quickjs.wasm is cut off")?;
        self.0 = rest;
        Ok(bytes)
    }

    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    pub fn name(&mut self) -> Result<&'a [u8]> {
        let length = self.number()? as usize;
        self.bytes(length)
    }

    pub fn number(&mut self) -> Result<u32> {
        let mut value = 0;
        for shift in (0..32).step_by(7) {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("quickjs.wasm has a number that is too long")
    }
}

/// An unsigned number in the binary format.
pub fn number(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A signed number in the binary format.
fn signed(mut value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = value as u8 & 0x7f;
        value >>= 7;
        let is_last = (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0);
        bytes.push(if is_last { byte } else { byte | 0x80 });
        if is_last {
            return bytes;
        }
    }
}
