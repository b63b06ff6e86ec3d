//! Makes a module that counts what it does, and calls its host when that comes to a budget. The host
//! then looks at the clock, at limits and at who waits.
//!
//! Instructions are paid for before they run. Each function pays where it begins for all that stands in
//! it outside of loops, and each loop, at each turn, for all that stands in it outside of loops within:
//! no more than that can run, as code only goes back to the start of a loop. So what has run since the
//! host was called is no more than what was paid since, and what was paid before and had yet to run. Of
//! that there is one function's text at most: who is called may stay away long, so that what is left of
//! the caller is paid for again when it comes back. What may take long by itself is paid for by itself.
//!
//! wasmtime can have compiled code look at a clock of its own where functions and loops begin (its
//! epochs), and carries the clock's deadline about for it: recursive `fib` takes a third longer that way.
//! Shared, word for word, with the build script, for the JavaScript engine.

use std::fmt;

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, Module, SectionId, TypeSection,
    ValType,
};
use wasmparser::{
    Catch, CodeSectionReader, CustomSectionReader, ElementItems, ExportSectionReader, ExternalKind,
    FunctionBody, FunctionSectionReader, GlobalSectionReader, ImportSectionReader, KnownCustom,
    NameSectionReader, Operator, Parser, Payload, TableInit, TypeRef, TypeSectionReader,
};

/// Where the functions are imported from that the module calls: nothing that is written by hand.
pub const HOST_MODULE: &str = "runabout:sandbox";
/// Gives 1 if the clock has ticked since it was called last, or else 0. Called often: it never waits.
pub const TAKE_TICK: &str = "take_tick";
/// Called after each tick; takes nothing and gives nothing, and may take its time.
pub const LOOK: &str = "look";
/// Both of them. They come after all others that are imported: functions of the module have numbers that
/// are higher by so many.
pub const HOST_FUNCTIONS: u32 = 2;

/// Exports whose names begin with it are the sandbox's own.
const OWN_PREFIX: &str = "runabout:";
/// Each memory is exported under this and its number, whatever else it is exported as: whoever ends a run
/// finds them all, and each once.
pub const MEMORY_PREFIX: &str = "runabout:memory/";

/// How many instructions run at most until the host is called, but for what was paid before: some ten
/// microseconds' worth, and some tens of milliseconds' if each touches memory that no page is there for.
const BUDGET: i32 = 32 << 10;

/// Where a function or a turn of a loop begins, all that stands in the function counts for so much less,
/// beside what may run: it decides how much is saved on the way, and moved, between two instructions.
const TEXT_SHARE: i32 = 128;

/// What is paid for an instruction that works on many bytes or elements at once. Most have few; those
/// with a piece, as `interruptible` leaves it, take fifty microseconds, and sixteen fit a budget.
const PIECE: i32 = BUDGET / 16;

/// When a call has come back, what is left of its caller is not paid for again if it is no more than this.
/// As much may then run for each call that is open, when a deep recursion unwinds.
const LEFT_FREE: i32 = 64;

/// No place pays more in an interpreter of our own, of whose loop each turn passes most by, and nothing is
/// paid for again.
const PAID_MAX_OF_OURS: i32 = 32;

/// The most exceptions that may be waited for at one place, all blocks around it together: whatever is
/// thrown is held against each of them, in each function that is open.
const CATCHES_MAX: usize = 64;

/// The most places that pay, in all of a module: each adds some 25 bytes, and a branch to compile.
const PLACES_MAX: usize = 2 << 20;

/// The module cannot be counted.
#[derive(Debug)]
pub enum Refusal {
    /// It has more than [`PLACES_MAX`] places that pay.
    TooMany,
    /// It waits for more than [`CATCHES_MAX`] exceptions at one place.
    TooManyCatches,
    /// It calls what is for counting alone.
    NamesHost,
    /// It exports what begins with [`OWN_PREFIX`].
    TakesName,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "the module has too many loops, functions and calls",
            Self::TooManyCatches => "the module waits for too many exceptions at one place",
            Self::NamesHost => "the module imports what only the sandbox may",
            Self::TakesName => "no export's name may begin with runabout:",
        })
    }
}

impl std::error::Error for Refusal {}

/// Why there is no counted module.
pub type Error = reencode::Error<Refusal>;

/// Whose module it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Anybody's: it may be laid out so that little of it is counted.
    Guest,
    /// Our own interpreter.
    Ours,
}

/// The module with its counting; `module` must be valid.
///
/// # Errors
/// It cannot be read, or is refused.
pub fn counted(module: &[u8], origin: Origin) -> Result<Vec<u8>, Error> {
    let mut counting = Counting::of(module, origin)?;
    if !counting.has_code {
        return Ok(module.to_vec());
    }
    let mut written = Module::new();
    counting.parse_core_module(&mut written, Parser::new(0), module)?;
    Ok(written.finish())
}

/// What must be known of a module, and what is added to it.
struct Counting {
    origin: Origin,
    types: u32,
    imported_functions: u32,
    functions: u32,
    globals: u32,
    memories: u32,
    /// Imported functions are put where indirect calls find them.
    imports_are_referenced: bool,
    has_code: bool,
    /// How many places pay.
    places: usize,
}

/// How many instructions a function has.
struct Body {
    /// Outside of its loops, and in each of them, in their order.
    parts: Vec<i32>,
    all: i32,
    calls: bool,
}

/// What is done before an instruction that may take long.
enum Before {
    /// It is paid for as a piece.
    Pay,
    /// The host is called.
    Renew,
}

impl Counting {
    fn of(module: &[u8], origin: Origin) -> Result<Self, Error> {
        let mut counting = Self {
            origin,
            types: 0,
            imported_functions: 0,
            functions: 0,
            globals: 0,
            memories: 0,
            imports_are_referenced: false,
            has_code: false,
            places: 0,
        };
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(groups) => {
                    for group in groups {
                        counting.types += group?.types().len() as u32;
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        if import.module == HOST_MODULE {
                            return Err(Error::UserError(Refusal::NamesHost));
                        }
                        match import.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                                counting.imported_functions += 1;
                            }
                            TypeRef::Global(_) => counting.globals += 1,
                            TypeRef::Memory(_) => counting.memories += 1,
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(functions) => counting.functions = functions.count(),
                Payload::MemorySection(memories) => counting.memories += memories.count(),
                Payload::GlobalSection(globals) => {
                    counting.globals += globals.count();
                    for global in globals {
                        counting.look_for_references(&global?.init_expr)?;
                    }
                }
                Payload::TableSection(tables) => {
                    for table in tables {
                        if let TableInit::Expr(expression) = table?.init {
                            counting.look_for_references(&expression)?;
                        }
                    }
                }
                // Code may refer to what is exported.
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        if export.name.starts_with(OWN_PREFIX) {
                            return Err(Error::UserError(Refusal::TakesName));
                        }
                        if matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact) {
                            counting.refers_to(export.index);
                        }
                    }
                }
                Payload::ElementSection(elements) => {
                    for element in elements {
                        match element?.items {
                            ElementItems::Functions(functions) => {
                                for function in functions {
                                    counting.refers_to(function?);
                                }
                            }
                            ElementItems::Expressions(_, expressions) => {
                                for expression in expressions {
                                    counting.look_for_references(&expression?)?;
                                }
                            }
                        }
                    }
                }
                Payload::CodeSectionEntry(_) => counting.has_code = true,
                _ => {}
            }
        }
        Ok(counting)
    }

    fn refers_to(&mut self, function: u32) {
        self.imports_are_referenced |= function < self.imported_functions;
    }

    fn look_for_references(&mut self, expression: &wasmparser::ConstExpr<'_>) -> Result<(), Error> {
        for operator in expression.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator? {
                self.refers_to(function_index);
            }
        }
        Ok(())
    }

    fn before(&self, operator: &Operator<'_>) -> Option<Before> {
        Some(match operator {
            // Of the host, who may copy megabytes.
            Operator::Call { function_index } | Operator::ReturnCall { function_index }
                if *function_index < self.imported_functions =>
            {
                Before::Renew
            }
            Operator::CallIndirect { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallRef { .. }
                if self.imports_are_referenced =>
            {
                Before::Renew
            }
            Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::TableGrow { .. }
            | Operator::StructNew { .. }
            | Operator::StructNewDefault { .. }
            | Operator::ArrayNewFixed { .. } => Before::Pay,
            // As much as a segment or an array has; or all functions that are open, and what they wait for.
            Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::MemoryInit { .. }
            | Operator::ArrayNew { .. }
            | Operator::ArrayNewDefault { .. }
            | Operator::ArrayNewData { .. }
            | Operator::ArrayNewElem { .. }
            | Operator::ArrayFill { .. }
            | Operator::ArrayCopy { .. }
            | Operator::ArrayInitData { .. }
            | Operator::ArrayInitElem { .. } => Before::Renew,
            _ => return None,
        })
    }

    /// Whether it calls what pays itself, and may come back after much else.
    fn calls(&self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::Call { function_index } => *function_index >= self.imported_functions,
            Operator::CallIndirect { .. } | Operator::CallRef { .. } => true,
            _ => false,
        }
    }

    fn body(&self, body: &FunctionBody<'_>) -> Result<Body, Error> {
        let mut read = Body { parts: vec![0], all: 0, calls: false };
        // Every block that is open, by the part it belongs to and the exceptions that are waited for.
        let mut open = vec![(0, 0)];
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            let (current, catches) = *open.last().unwrap_or(&(0, 0));
            // A body has fewer than eight million.
            read.parts[current] += 1;
            read.all += 1;
            read.calls |= self.calls(&operator) || is_tail_call(&operator);
            match operator {
                Operator::Loop { .. } => {
                    open.push((read.parts.len(), catches));
                    read.parts.push(0);
                }
                Operator::Block { .. } | Operator::If { .. } => open.push((current, catches)),
                Operator::TryTable { ref try_table } => {
                    let catches = catches + try_table.catches.len();
                    if catches > CATCHES_MAX {
                        return Err(Error::UserError(Refusal::TooManyCatches));
                    }
                    open.push((current, catches));
                }
                Operator::End => drop(open.pop()),
                _ => {}
            }
        }
        Ok(read)
    }

    /// The functions that are imported come after all others that are.
    fn take_tick(&self) -> u32 {
        self.imported_functions
    }

    fn look(&self) -> u32 {
        self.imported_functions + 1
    }

    /// The function that renews the budget, behind all others.
    fn renewing(&self) -> u32 {
        self.imported_functions + HOST_FUNCTIONS + self.functions
    }

    /// The one that pays for a piece.
    fn piece(&self) -> u32 {
        self.renewing() + 1
    }

    fn import(&self, imports: &mut ImportSection) {
        let (nothing, answer) = (self.types, self.types + 1);
        imports.import(HOST_MODULE, TAKE_TICK, EntityType::Function(answer));
        imports.import(HOST_MODULE, LOOK, EntityType::Function(nothing));
    }

    fn global(globals: &mut GlobalSection) {
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i32_const(BUDGET));
    }

    fn pay(&mut self, function: &mut Function, instructions: i32) -> Result<(), Error> {
        self.places += 1;
        if self.places > PLACES_MAX {
            return Err(Error::UserError(Refusal::TooMany));
        }
        let instructions = match self.origin {
            Origin::Guest => instructions,
            Origin::Ours => instructions.min(PAID_MAX_OF_OURS),
        };
        self.take(function, instructions);
        Ok(())
    }

    /// Takes from what is left of the budget, and renews it when that is used up.
    fn take(&self, function: &mut Function, instructions: i32) {
        let mut code = function.instructions();
        code.global_get(self.globals).i32_const(instructions).i32_sub().global_set(self.globals);
        code.global_get(self.globals).i32_const(0).i32_lt_s();
        code.if_(BlockType::Empty).call(self.renewing()).end();
    }
}

/// Which of the blocks that are open an exception may lead to the end of.
struct Caught(Vec<bool>);

impl Caught {
    /// Whether an exception may lead behind the instruction.
    fn pass(&mut self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::TryTable { try_table } => {
                for catch in &try_table.catches {
                    let (Catch::One { label, .. }
                    | Catch::OneRef { label, .. }
                    | Catch::All { label }
                    | Catch::AllRef { label }) = catch;
                    // The outermost is the function, behind whose end there is nothing.
                    let block = self.0.len().checked_sub(1 + *label as usize);
                    if let Some(is_caught) = block.and_then(|block| self.0.get_mut(block)) {
                        *is_caught = true;
                    }
                }
                self.0.push(false);
            }
            Operator::Loop { .. } | Operator::Block { .. } | Operator::If { .. } => {
                self.0.push(false);
            }
            Operator::End => return self.0.pop().unwrap_or(false),
            _ => {}
        }
        false
    }
}

fn is_tail_call(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
    )
}

impl Reencode for Counting {
    type Error = Refusal;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        // What a name is given to need not be there.
        let moved = function.saturating_add(HOST_FUNCTIONS);
        Ok(if function < self.imported_functions { function } else { moved })
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_type_section(self, types, section)?;
        types.ty().function([], []);
        types.ty().function([], [ValType::I32]);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_import_section(self, imports, section)?;
        self.import(imports);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_function_section(self, functions, section)?;
        functions.function(self.types);
        functions.function(self.types);
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_global_section(self, globals, section)?;
        Self::global(globals);
        Ok(())
    }

    /// Sections that the module lacks.
    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Error> {
        let is_due = |section: SectionId| {
            after.is_none_or(|after| place(after) < place(section))
                && before.is_none_or(|before| place(before) > place(section))
        };
        if is_due(SectionId::Import) {
            let mut imports = ImportSection::new();
            self.import(&mut imports);
            module.section(&imports);
        }
        if is_due(SectionId::Global) {
            let mut globals = GlobalSection::new();
            Self::global(&mut globals);
            module.section(&globals);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_code_section(self, code, section)?;
        let mut renewing = Function::new([]);
        let mut body = renewing.instructions();
        body.i32_const(BUDGET).global_set(self.globals);
        body.call(self.take_tick()).if_(BlockType::Empty).call(self.look()).end().end();
        code.function(&renewing);
        let mut piece = Function::new([]);
        self.take(&mut piece, PIECE);
        piece.instructions().end();
        code.function(&piece);
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let Body { parts, all, calls } = self.body(&body)?;
        let mut function = self.new_function_with_parsed_locals(&body)?;
        // Our own functions that neither loop nor call are short.
        if self.origin == Origin::Guest || calls || parts.len() > 1 {
            self.pay(&mut function, parts[0] + all / TEXT_SHARE)?;
        }
        // The first part is what was paid for above.
        let mut loops = parts.into_iter().skip(1);
        let mut left = all;
        let mut caught = Caught(Vec::new());
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            left -= 1;
            match self.before(&operator) {
                Some(Before::Renew) => drop(function.instructions().call(self.renewing())),
                Some(Before::Pay) => drop(function.instructions().call(self.piece())),
                None => {}
            }
            let comes_back = caught.pass(&operator) || self.calls(&operator);
            let is_loop = matches!(operator, Operator::Loop { .. });
            function.instruction(&self.instruction(operator)?);
            if is_loop {
                self.pay(&mut function, loops.next().unwrap_or_default() + all / TEXT_SHARE)?;
            }
            if comes_back && self.origin == Origin::Guest && left > LEFT_FREE {
                self.pay(&mut function, left)?;
            }
        }
        code.function(&function);
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_export_section(self, exports, section)?;
        if self.origin == Origin::Guest {
            for number in 0..self.memories {
                exports.export(&format!("{MEMORY_PREFIX}{number}"), ExportKind::Memory, number);
            }
        }
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        // Others are for tools, and speak of places that have moved.
        if let KnownCustom::Name(names) = section.as_known() {
            module.section(&self.custom_name_section(names)?);
        }
        Ok(())
    }

    fn custom_name_section(
        &mut self,
        section: NameSectionReader<'_>,
    ) -> Result<wasm_encoder::NameSection, Error> {
        // Names have no bearing on what a module does, and may be anything.
        Ok(utils::custom_name_section(self, section).unwrap_or_default())
    }
}

/// Where a section stands among the others.
fn place(section: SectionId) -> usize {
    const ORDER: [SectionId; 13] = [
        SectionId::Type,
        SectionId::Import,
        SectionId::Function,
        SectionId::Table,
        SectionId::Memory,
        SectionId::Tag,
        SectionId::Global,
        SectionId::Export,
        SectionId::Start,
        SectionId::Element,
        SectionId::DataCount,
        SectionId::Code,
        SectionId::Data,
    ];
    ORDER.iter().position(|known| *known == section).unwrap_or(ORDER.len())
}
