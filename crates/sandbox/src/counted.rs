//! Makes a module that counts what it does, and calls its host when that comes to a budget. The host
//! then looks at the clock, at limits and at who waits. Each function and each loop counts its
//! instructions where it begins, so that nothing repeats without being counted, and what may take long
//! is counted by itself.
//!
//! wasmtime can have compiled code look at a clock of its own in the same places (its epochs), and
//! carries the clock's deadline about for it: recursive `fib` takes a third longer that way. Shared,
//! word for word, with the build script, for the JavaScript engine.

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, Function, FunctionSection, GlobalSection,
    GlobalType, ImportSection, Module, SectionId, TypeSection, ValType,
};
use wasmparser::{
    CodeSectionReader, ElementItems, ExternalKind, FunctionBody, FunctionSectionReader,
    GlobalSectionReader, ImportSectionReader, NameSectionReader, Operator, Parser, Payload,
    TableInit, TypeRef, TypeSectionReader,
};

/// Where the functions are imported from that the module calls: nothing that is written by hand.
pub const HOST_MODULE: &str = "runabout:sandbox";
/// Gives 1 if the clock has ticked since it was called last, or else 0. Called often: it never waits.
pub const HAS_TICKED: &str = "has_ticked";
/// Called after each tick; takes nothing and gives nothing, and may take its time.
pub const TICK: &str = "tick";
/// Both of them.
const HOST_FUNCTIONS: u32 = 2;

/// How many instructions run, about, until the host is called: some ten microseconds' worth, and five
/// milliseconds' where each touches memory for the first time.
const BUDGET: i32 = 32 << 10;

/// So many instructions of a function or a loop count in full. Of a body that has more, an interpreter's
/// say, most pass by most of them: of the rest one in [`PASSED_BY`] counts.
const COUNTED_IN_FULL: i32 = 128;
const PASSED_BY: i32 = 256;

/// What counts for one that fills or copies a piece, as `interruptible` leaves it: fifty microseconds.
const PIECE: i32 = BUDGET / 16;

/// What counts for one that may take a millisecond or two: a call of the host, who may copy megabytes.
const HOST_CALL: i32 = BUDGET / 4;

/// What has no more instructions than this is small: a loop that calls a counted function first, or a
/// function that neither loops nor calls. Neither is counted by itself.
const SMALL: i32 = 64;

/// The module with its counting; `module` must be valid.
///
/// # Errors
/// It cannot be read.
pub fn counted(module: &[u8]) -> Result<Vec<u8>, Error> {
    let mut counting = Counting::of(module)?;
    if counting.bodies.is_empty() {
        return Ok(module.to_vec());
    }
    let mut written = Module::new();
    counting.parse_core_module(&mut written, Parser::new(0), module)?;
    Ok(written.finish())
}

/// What must be known of a module, and what is added to it.
#[derive(Default)]
struct Counting {
    types: u32,
    imported_functions: u32,
    functions: u32,
    globals: u32,
    /// Imported functions are put where indirect calls find them.
    imports_are_referenced: bool,
    bodies: Vec<Body>,
    /// The next of them.
    next: usize,
}

/// What a function counts: where it begins, and in each of its loops, in their order.
#[derive(Default)]
struct Body {
    counts: Vec<Count>,
    calls: bool,
}

impl Body {
    fn is_small_leaf(&self) -> bool {
        matches!(self.counts[..], [all] if all.instructions <= SMALL) && !self.calls
    }
}

/// What is counted at one place: where the function begins, or one of its loops.
#[derive(Clone, Copy, Default)]
struct Count {
    instructions: i32,
    /// The function of the module that a loop calls before anything else can happen.
    calls_first: Option<usize>,
}

impl Count {
    fn weight(self) -> i32 {
        self.instructions.min(COUNTED_IN_FULL) + self.instructions / PASSED_BY
    }
}

impl Counting {
    fn of(module: &[u8]) -> Result<Self, Error> {
        let mut counting = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(groups) => {
                    for group in groups {
                        counting.types += group?.types().len() as u32;
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                                counting.imported_functions += 1;
                            }
                            TypeRef::Global(_) => counting.globals += 1,
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(functions) => counting.functions = functions.count(),
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
                Payload::CodeSectionEntry(body) => {
                    // What refers to functions comes before, but for code itself, which refers to none
                    // that is not declared there.
                    let body = counting.body(&body)?;
                    counting.bodies.push(body);
                }
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

    /// For how many others an instruction counts that may take long.
    fn weight(&self, operator: &Operator<'_>) -> Option<i32> {
        Some(match operator {
            Operator::Call { function_index } | Operator::ReturnCall { function_index }
                if *function_index < self.imported_functions =>
            {
                HOST_CALL
            }
            Operator::CallIndirect { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallRef { .. }
                if self.imports_are_referenced =>
            {
                HOST_CALL
            }
            Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::TableGrow { .. } => PIECE,
            // As much as a segment has, which is as much as an artifact may have.
            Operator::MemoryInit { .. }
            | Operator::ArrayNew { .. }
            | Operator::ArrayNewDefault { .. }
            | Operator::ArrayNewData { .. }
            | Operator::ArrayNewElem { .. }
            | Operator::ArrayFill { .. }
            | Operator::ArrayCopy { .. }
            | Operator::ArrayInitData { .. }
            | Operator::ArrayInitElem { .. } => BUDGET,
            _ => return None,
        })
    }

    fn body(&self, body: &FunctionBody<'_>) -> Result<Body, Error> {
        let mut counts = vec![Count::default()];
        let mut calls = false;
        // Every block that is open, by what its instructions count to.
        let mut open = vec![0];
        let mut is_at_start_of_loop = false;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            let current = *open.last().unwrap_or(&0);
            counts[current].instructions += 1;
            match operator {
                Operator::Loop { .. } => {
                    open.push(counts.len());
                    counts.push(Count::default());
                }
                Operator::Block { .. }
                | Operator::If { .. }
                | Operator::Try { .. }
                | Operator::TryTable { .. } => open.push(current),
                Operator::End | Operator::Delegate { .. } => drop(open.pop()),
                Operator::Call { function_index } => {
                    calls = true;
                    if is_at_start_of_loop {
                        let own = function_index.checked_sub(self.imported_functions);
                        counts[current].calls_first = own.map(|index| index as usize);
                    }
                }
                Operator::CallIndirect { .. }
                | Operator::CallRef { .. }
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. } => calls = true,
                _ => {}
            }
            is_at_start_of_loop = matches!(operator, Operator::Loop { .. })
                || is_at_start_of_loop && is_plain(&operator);
        }
        Ok(Body { counts, calls })
    }

    /// The functions that are imported come after all others that are.
    fn has_ticked(&self) -> u32 {
        self.imported_functions
    }

    fn tick(&self) -> u32 {
        self.imported_functions + 1
    }

    /// The function that renews the budget, behind all others.
    fn renewing(&self) -> u32 {
        self.imported_functions + HOST_FUNCTIONS + self.functions
    }

    fn import(&self, imports: &mut ImportSection) {
        let (nothing, answer) = (self.types, self.types + 1);
        imports.import(HOST_MODULE, HAS_TICKED, EntityType::Function(answer));
        imports.import(HOST_MODULE, TICK, EntityType::Function(nothing));
    }

    fn global(globals: &mut GlobalSection) {
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i32_const(BUDGET));
    }

    /// Whether a loop's every turn is counted by the function that it calls.
    fn is_counted_by_callee(&self, count: Count) -> bool {
        let callee = count.calls_first.and_then(|index| self.bodies.get(index));
        count.instructions <= SMALL && callee.is_some_and(|callee| !callee.is_small_leaf())
    }

    fn count(&self, function: &mut Function, weight: i32) {
        let (left, renewing) = (self.globals, self.renewing());
        let mut code = function.instructions();
        code.global_get(left).i32_const(weight).i32_sub().global_set(left);
        code.global_get(left).i32_const(0).i32_lt_s();
        code.if_(BlockType::Empty).call(renewing).end();
    }
}

/// Whether it goes on with the next instruction, or traps.
fn is_plain(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::LocalGet { .. }
            | Operator::LocalSet { .. }
            | Operator::LocalTee { .. }
            | Operator::GlobalGet { .. }
            | Operator::GlobalSet { .. }
            | Operator::I32Const { .. }
            | Operator::I64Const { .. }
            | Operator::F32Const { .. }
            | Operator::F64Const { .. }
            | Operator::I32Add
            | Operator::I32Sub
            | Operator::I64Add
            | Operator::I64Sub
            | Operator::I32Load { .. }
            | Operator::I64Load { .. }
            | Operator::I32Store { .. }
            | Operator::I64Store { .. }
    )
}

impl Reencode for Counting {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        Ok(if function < self.imported_functions { function } else { function + HOST_FUNCTIONS })
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
        body.call(self.has_ticked()).if_(BlockType::Empty).call(self.tick()).end().end();
        code.function(&renewing);
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let index = self.next;
        self.next += 1;
        let mut function = self.new_function_with_parsed_locals(&body)?;
        if !self.bodies[index].is_small_leaf() {
            self.count(&mut function, self.bodies[index].counts[0].weight());
        }
        let mut loops = 0;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            if let Some(weight) = self.weight(&operator) {
                self.count(&mut function, weight);
            }
            let is_loop = matches!(operator, Operator::Loop { .. });
            function.instruction(&self.instruction(operator)?);
            if is_loop {
                loops += 1;
                let count = self.bodies[index].counts[loops];
                if !self.is_counted_by_callee(count) {
                    self.count(&mut function, count.weight());
                }
            }
        }
        code.function(&function);
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
