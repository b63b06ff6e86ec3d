//! Makes a module whose large fills and copies can be interrupted. What a guest does is counted where
//! its code loops, calls and begins a bulk instruction (`counted.rs`), but one `memory.fill` may write
//! gigabytes, and whoever waits for its thread waits until it is done. So `memory.fill` and `memory.copy`
//! become calls of functions that do the same piece by piece, in a loop. The functions come after all
//! others, so that nothing is renumbered; what can be seen of the two instructions, traps included,
//! stays as it is. Shared, word for word, with the build script, for the JavaScript engine.
//!
//! Others need none of this: `memory.init` reads a segment, which is no larger than an artifact, and
//! tables are small.

use std::collections::BTreeMap;
use std::ops::Range;

use wasm_encoder::{
    BlockType, CodeSection, Encode, Function, InstructionSink, Module, NameMap, NameSection,
    RawSection,
};
use wasmparser::{
    FunctionBody, KnownCustom, Name, NameSectionReader, Operator, Parser, Payload, Result, TypeRef,
};

/// The most that is written at once. Where no page of it was touched before,
/// this takes some 50 microseconds.
pub const PIECE_BYTES: u32 = 256 << 10;

const PAGE_BYTES_LOG2: i64 = 16;

/// The type of the functions that are added: three numbers of 32 bits, and no result.
const TYPE_OF_ADDED: [u8; 6] = [0x60, 3, 0x7f, 0x7f, 0x7f, 0];

const CALL: u8 = 0x10;

/// An instruction that is replaced, by the memories it works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bulk {
    Fill { memory: u32 },
    Copy { target: u32, source: u32 },
}

/// The module with its large fills and copies cut to pieces; `None` if it has none. `module` must be
/// valid, and its memories be addressed with 32 bits and have pages of 64 KiB.
///
/// # Errors
/// It cannot be read.
pub fn interruptible(module: &[u8]) -> Result<Option<Vec<u8>>> {
    let outline = Outline::read(module)?;
    if outline.replaced.is_empty() {
        return Ok(None);
    }
    outline.write(module).map(Some)
}

/// What must be known of a module to add functions to it.
#[derive(Default)]
struct Outline<'a> {
    types: u32,
    functions: u32,
    bodies: Vec<Body<'a>>,
    names: Names<'a>,
    /// What is replaced, and the index of the function that is called instead.
    replaced: BTreeMap<Bulk, u32>,
}

/// A function's code, and where in it there is something to replace.
struct Body<'a> {
    bytes: &'a [u8],
    replaced: Vec<(Range<usize>, Bulk)>,
}

/// The names that stack traces show.
#[derive(Default)]
struct Names<'a> {
    module: Option<&'a str>,
    functions: Vec<(u32, &'a str)>,
}

impl<'a> Outline<'a> {
    fn read(module: &'a [u8]) -> Result<Self> {
        let mut outline = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(groups) => {
                    for group in groups {
                        outline.types += group?.types().len() as u32;
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let is_function =
                            matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                        outline.functions += u32::from(is_function);
                    }
                }
                Payload::FunctionSection(functions) => outline.functions += functions.count(),
                Payload::CodeSectionEntry(body) => outline.bodies.push(Body::read(&body)?),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        // Names have no bearing on what a module does, and may be anything.
                        outline.names = Names::read(names).unwrap_or_default();
                    }
                }
                _ => {}
            }
        }
        let all = outline.bodies.iter().flat_map(|body| &body.replaced);
        outline.replaced = all.map(|(_, bulk)| (*bulk, 0)).collect();
        for (position, index) in outline.replaced.values_mut().enumerate() {
            *index = outline.functions + position as u32;
        }
        Ok(outline)
    }

    /// All sections as they were, with the functions added to those that list functions. Sections for
    /// tools are left out: they speak of places that have moved.
    fn write(&self, module: &[u8]) -> Result<Vec<u8>> {
        let added = self.replaced.len() as u32;
        let mut written = Module::new();
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            let Some((id, range)) = payload.as_section() else { continue };
            let data = &module[range];
            let data = match payload {
                Payload::CustomSection(_) => continue,
                Payload::TypeSection(groups) => longer(data, groups.count(), 1, &TYPE_OF_ADDED),
                Payload::FunctionSection(functions) => {
                    let mut entries = Vec::new();
                    for _ in 0..added {
                        self.types.encode(&mut entries);
                    }
                    longer(data, functions.count(), added, &entries)
                }
                Payload::CodeSectionStart { .. } => {
                    written.section(&self.code());
                    continue;
                }
                _ => data.to_vec(),
            };
            written.section(&RawSection { id, data: &data });
        }
        written.section(&self.names());
        Ok(written.finish())
    }

    fn code(&self) -> CodeSection {
        let mut code = CodeSection::new();
        for body in &self.bodies {
            code.raw(&body.write(&self.replaced));
        }
        for bulk in self.replaced.keys() {
            code.function(&bulk.function());
        }
        code
    }

    fn names(&self) -> NameSection {
        let mut names = NameSection::new();
        if let Some(module) = self.names.module {
            names.module(module);
        }
        let mut functions = NameMap::new();
        for (index, name) in &self.names.functions {
            if *index < self.functions {
                functions.append(*index, name);
            }
        }
        for (bulk, index) in &self.replaced {
            functions.append(*index, bulk.name());
        }
        names.functions(&functions);
        names
    }
}

impl<'a> Body<'a> {
    fn read(body: &FunctionBody<'a>) -> Result<Self> {
        let start = body.range().start;
        let mut replaced = Vec::new();
        let mut operators = body.get_operators_reader()?;
        let mut previous = Operator::Nop;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            if let Some(bulk) = Bulk::of(&operator)
                && !is_small(&previous)
            {
                replaced.push((offset - start..operators.original_position() - start, bulk));
            }
            previous = operator;
        }
        Ok(Self { bytes: body.as_bytes(), replaced })
    }

    fn write(&self, functions: &BTreeMap<Bulk, u32>) -> Vec<u8> {
        let mut written = Vec::with_capacity(self.bytes.len());
        let mut done = 0;
        for (range, bulk) in &self.replaced {
            written.extend_from_slice(&self.bytes[done..range.start]);
            written.push(CALL);
            functions[bulk].encode(&mut written);
            done = range.end;
        }
        written.extend_from_slice(&self.bytes[done..]);
        written
    }
}

/// Whether the operand that comes last, a length, is a constant that one piece has room for.
fn is_small(length: &Operator<'_>) -> bool {
    matches!(length, Operator::I32Const { value } if value.cast_unsigned() <= PIECE_BYTES)
}

impl<'a> Names<'a> {
    fn read(section: NameSectionReader<'a>) -> Result<Self> {
        let mut names = Self::default();
        for name in section {
            match name? {
                Name::Module { name, .. } => names.module = Some(name),
                Name::Function(functions) => {
                    for function in functions {
                        let function = function?;
                        names.functions.push((function.index, function.name));
                    }
                }
                _ => {}
            }
        }
        Ok(names)
    }
}

impl Bulk {
    fn of(operator: &Operator<'_>) -> Option<Self> {
        match *operator {
            Operator::MemoryFill { mem } => Some(Self::Fill { memory: mem }),
            Operator::MemoryCopy { dst_mem, src_mem } => {
                Some(Self::Copy { target: dst_mem, source: src_mem })
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fill { .. } => "memory.fill",
            Self::Copy { .. } => "memory.copy",
        }
    }

    /// The function that does the same, as it would be written by hand:
    ///
    /// ```text
    /// if length > PIECE and all of it is inside of memory:
    ///     do pieces, from the end if a copy moves up in its own memory, until no more than one is left
    /// do what is left, which is all of it if it was small, or is to trap before anything is written
    /// ```
    fn function(self) -> Function {
        let mut function = Function::new([]);
        let mut code = function.instructions();
        code.local_get(LENGTH).i32_const(PIECE_BYTES as i32).i32_gt_u();
        code.if_(BlockType::Empty);
        match self {
            Self::Fill { memory } => is_inside(&mut code, TARGET, memory),
            Self::Copy { target, source } => {
                is_inside(&mut code, TARGET, target);
                is_inside(&mut code, SOURCE, source);
                code.i32_and();
            }
        }
        code.if_(BlockType::Empty);
        match self {
            Self::Copy { target, source } if target == source => {
                code.local_get(TARGET).local_get(SOURCE).i32_gt_u();
                code.if_(BlockType::Empty);
                self.pieces_from_the_end(&mut code);
                code.else_();
                self.pieces_from_the_start(&mut code);
                code.end();
            }
            _ => self.pieces_from_the_start(&mut code),
        }
        code.end().end();
        code.local_get(TARGET).local_get(SOURCE).local_get(LENGTH);
        self.instruction(&mut code);
        code.end();
        function
    }

    fn pieces_from_the_start(self, code: &mut InstructionSink<'_>) {
        code.loop_(BlockType::Empty);
        code.local_get(TARGET).local_get(SOURCE).i32_const(PIECE_BYTES as i32);
        self.instruction(code);
        add(code, TARGET, PIECE_BYTES as i32);
        if let Self::Copy { .. } = self {
            add(code, SOURCE, PIECE_BYTES as i32);
        }
        again_if_more_is_left(code);
    }

    fn pieces_from_the_end(self, code: &mut InstructionSink<'_>) {
        code.loop_(BlockType::Empty);
        add(code, LENGTH, -(PIECE_BYTES as i32));
        code.local_get(TARGET).local_get(LENGTH).i32_add();
        code.local_get(SOURCE).local_get(LENGTH).i32_add();
        code.i32_const(PIECE_BYTES as i32);
        self.instruction(code);
        code.local_get(LENGTH).i32_const(PIECE_BYTES as i32).i32_gt_u();
        code.br_if(0).end();
    }

    fn instruction(self, code: &mut InstructionSink<'_>) {
        match self {
            Self::Fill { memory } => code.memory_fill(memory),
            Self::Copy { target, source } => code.memory_copy(target, source),
        };
    }
}

/// The parameters of an added function, which are the operands of the instruction.
const TARGET: u32 = 0;
/// Where a copy reads; of a fill, the value.
const SOURCE: u32 = 1;
const LENGTH: u32 = 2;

/// Whether the bytes from `address` on, as many as `LENGTH` says, are inside of `memory`.
fn is_inside(code: &mut InstructionSink<'_>, address: u32, memory: u32) {
    code.local_get(address).i64_extend_i32_u();
    code.local_get(LENGTH).i64_extend_i32_u().i64_add();
    code.memory_size(memory).i64_extend_i32_u().i64_const(PAGE_BYTES_LOG2).i64_shl();
    code.i64_le_u();
}

fn add(code: &mut InstructionSink<'_>, local: u32, number: i32) {
    code.local_get(local).i32_const(number).i32_add().local_set(local);
}

fn again_if_more_is_left(code: &mut InstructionSink<'_>) {
    add(code, LENGTH, -(PIECE_BYTES as i32));
    code.local_get(LENGTH).i32_const(PIECE_BYTES as i32).i32_gt_u();
    code.br_if(0).end();
}

/// A section with more entries.
fn longer(data: &[u8], count: u32, added: u32, entries: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(data.len() + entries.len() + 4);
    (count + added).encode(&mut written);
    let count_bytes = data.iter().position(|byte| byte & 0x80 == 0).map_or(0, |last| last + 1);
    written.extend_from_slice(&data[count_bytes..]);
    written.extend_from_slice(entries);
    written
}
