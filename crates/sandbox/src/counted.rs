//! Makes a module that counts what it does, and calls its host when that comes to a budget. The host
//! then looks at the clock, at limits and at who waits. Each function and each loop counts its
//! instructions where it begins, or is counted by who calls it or whom it calls, and what may take long
//! is counted by itself, so that nothing repeats without being counted.
//!
//! wasmtime can have compiled code look at a clock of its own in the same places (its epochs), and
//! carries the clock's deadline about for it: recursive `fib` takes a third longer that way. Shared,
//! word for word, with the build script, for the JavaScript engine.

use std::fmt;

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, Function, FunctionSection, GlobalSection,
    GlobalType, ImportSection, Module, SectionId, TypeSection, ValType,
};
use wasmparser::{
    Catch, CodeSectionReader, CustomSectionReader, ElementItems, ExternalKind, FunctionBody,
    FunctionSectionReader, GlobalSectionReader, ImportSectionReader, KnownCustom,
    NameSectionReader, Operator, Parser, Payload, TableInit, TypeRef, TypeSectionReader,
};

/// Where the functions are imported from that the module calls: nothing that is written by hand.
pub const HOST_MODULE: &str = "runabout:sandbox";
/// Gives 1 if the clock has ticked since it was called last, or else 0. Called often: it never waits.
pub const HAS_TICKED: &str = "has_ticked";
/// Called after each tick; takes nothing and gives nothing, and may take its time.
pub const TICK: &str = "tick";
/// Both of them.
const HOST_FUNCTIONS: u32 = 2;

/// How many instructions run, about, until the host is called: some five microseconds' worth. Places may
/// count up to a tenth of what passes, and an instruction may wait for memory: tens of milliseconds are
/// the worst that comes of it.
const BUDGET: i32 = 16 << 10;

/// What counts for an instruction that works on many bytes or elements at once. Most have few; those
/// with a piece, as `interruptible` leaves it, take fifty microseconds, and sixteen fit a budget.
const PIECE: i32 = BUDGET / 16;

/// At most so many instructions run, whichever way they take, from one place that counts to the next.
const STRETCH: i32 = 512;

/// At most so many run uncounted after a call has come back, as when a deep recursion unwinds.
const RETURNED: i32 = 16;

/// No place counts more, though as many as a stretch may follow it.
const COUNTED_MAX: i32 = 128;

/// The same in an interpreter of our own, of whose loop each turn passes most by. It has no long
/// stretches, and is not counted between.
const COUNTED_MAX_OF_OURS: i32 = 32;

/// A function that neither loops nor calls, and has no more instructions than this, is counted by those
/// who call it.
const SMALL: i32 = 64;

/// A loop is counted by the function that it calls first, if it has no more instructions than so many
/// times those that count there.
const TIMES_ITS_CALLEE: i32 = 2;

/// The most exceptions that may be waited for at one place, all blocks around it together: whatever is
/// thrown is held against each of them, in each function that is open.
const CATCHES_MAX: usize = 64;

/// The most places that count, in all of a module: each adds some 25 bytes, and a branch to compile.
const PLACES_MAX: usize = 1 << 20;

/// The module cannot be counted.
#[derive(Debug)]
pub enum Refusal {
    /// It has more than [`PLACES_MAX`] places to count at.
    TooMany,
    /// It waits for more than [`CATCHES_MAX`] exceptions at one place.
    TooManyCatches,
    /// It calls what is for counting alone.
    NamesHost,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "the module has too many loops, functions and stretches of code",
            Self::TooManyCatches => "the module waits for too many exceptions at one place",
            Self::NamesHost => "the module imports what only the sandbox may",
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
    let mut counting = Counting::of(module)?;
    if origin == Origin::Ours {
        (counting.counted_max, counting.stretch) = (COUNTED_MAX_OF_OURS, i32::MAX);
    }
    if counting.bodies.is_empty() {
        return Ok(module.to_vec());
    }
    let mut written = Module::new();
    counting.parse_core_module(&mut written, Parser::new(0), module)?;
    Ok(written.finish())
}

/// What must be known of a module, and what is added to it.
struct Counting {
    counted_max: i32,
    stretch: i32,
    types: u32,
    imported_functions: u32,
    functions: u32,
    globals: u32,
    /// Imported functions are put where indirect calls find them.
    imports_are_referenced: bool,
    bodies: Vec<Body>,
    /// How many of them are written, and how many places that count.
    written: usize,
    places: usize,
}

/// A function's code.
#[derive(Default)]
struct Body {
    /// Outside of its loops, and in each of them, in their order.
    parts: Vec<Part>,
    calls: bool,
}

impl Body {
    fn is_small_leaf(&self) -> bool {
        matches!(self.parts[..], [all] if all.instructions <= SMALL) && !self.calls
    }
}

/// Code that is counted where it begins: of a function, or of a loop.
#[derive(Clone, Copy, Default)]
struct Part {
    instructions: i32,
    /// The function of the module that a loop calls before anything else can happen.
    calls_first: Option<usize>,
}

/// What is done before an instruction that may take long.
enum Before {
    /// It counts for a piece.
    Count,
    /// The host is called.
    Renew,
}

impl Counting {
    fn of(module: &[u8]) -> Result<Self, Error> {
        let mut counting = Self {
            counted_max: COUNTED_MAX,
            stretch: STRETCH,
            types: 0,
            imported_functions: 0,
            functions: 0,
            globals: 0,
            imports_are_referenced: false,
            bodies: Vec::new(),
            written: 0,
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
            | Operator::ArrayNewFixed { .. } => Before::Count,
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

    /// For how many instructions one counts, with those of a function that counts nothing itself.
    fn cost(&self, operator: &Operator<'_>) -> i32 {
        match operator {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                match self.own(*function_index).and_then(|index| self.bodies.get(index)) {
                    Some(callee) if callee.is_small_leaf() => 1 + callee.parts[0].instructions,
                    _ => 1,
                }
            }
            Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => 1 + SMALL,
            _ => 1,
        }
    }

    /// Whether it calls what counts itself, and may come back after much else.
    fn calls(&self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::Call { function_index } => {
                let callee = self.own(*function_index).and_then(|index| self.bodies.get(index));
                callee.is_some_and(|callee| !callee.is_small_leaf())
            }
            Operator::CallIndirect { .. } | Operator::CallRef { .. } => true,
            _ => false,
        }
    }

    /// Which of the module's own functions that is.
    fn own(&self, function: u32) -> Option<usize> {
        function.checked_sub(self.imported_functions).map(|index| index as usize)
    }

    fn body(&self, body: &FunctionBody<'_>) -> Result<Body, Error> {
        let mut parts = vec![Part::default()];
        let mut calls = false;
        // Every block that is open, by the part it belongs to and the exceptions that are waited for.
        let mut open = vec![(0, 0)];
        let mut is_at_start_of_loop = false;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            let (current, catches) = *open.last().unwrap_or(&(0, 0));
            parts[current].instructions += self.cost(&operator);
            match operator {
                Operator::Loop { .. } => {
                    open.push((parts.len(), catches));
                    parts.push(Part::default());
                }
                Operator::Block { .. } | Operator::If { .. } | Operator::Try { .. } => {
                    open.push((current, catches));
                }
                Operator::TryTable { ref try_table } => {
                    let catches = catches + try_table.catches.len();
                    if catches > CATCHES_MAX {
                        return Err(Error::UserError(Refusal::TooManyCatches));
                    }
                    open.push((current, catches));
                }
                Operator::End | Operator::Delegate { .. } => drop(open.pop()),
                Operator::Call { function_index } => {
                    calls = true;
                    if is_at_start_of_loop {
                        parts[current].calls_first = self.own(function_index);
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
        Ok(Body { parts, calls })
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

    /// The one that counts a piece.
    fn piece(&self) -> u32 {
        self.renewing() + 1
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
    fn is_counted_by_callee(&self, part: Part) -> bool {
        let callee = part.calls_first.and_then(|index| self.bodies.get(index));
        callee.is_some_and(|callee| {
            let counted = callee.parts[0].instructions.min(self.counted_max);
            !callee.is_small_leaf() && part.instructions <= counted * TIMES_ITS_CALLEE
        })
    }

    fn count(&mut self, function: &mut Function, weight: i32) -> Result<(), Error> {
        self.places += 1;
        if self.places > PLACES_MAX {
            return Err(Error::UserError(Refusal::TooMany));
        }
        count(function, weight, (self.globals, self.renewing()));
        Ok(())
    }
}

/// How many instructions at most have run since the last place that counted, whichever way led here. A
/// way may lead past whatever stands within a block, so that a place in there holds no further than its
/// end. A loop's place counts for the loop alone, and a function's for what runs until it calls another:
/// many may come back in a row.
struct Since {
    instructions: i32,
    stretch: i32,
    /// All that were passed.
    all: i32,
    open: Vec<Open>,
}

/// A block that is open.
struct Open {
    /// All that were passed at its start, and how many had run since the last place.
    all: i32,
    instructions: i32,
    /// Something is called in it that counts itself.
    calls: bool,
    /// A way leads to its end past what stands in it.
    is_left: bool,
}

impl Since {
    fn new(stretch: i32) -> Self {
        Self { instructions: 0, stretch, all: 0, open: Vec::new() }
    }

    /// Whether what has run is to be counted here.
    fn is_due(&self) -> bool {
        self.instructions > self.stretch
    }

    fn pass(&mut self, operator: &Operator<'_>, cost: i32, calls: bool) {
        self.instructions = self.instructions.saturating_add(cost);
        self.all = self.all.saturating_add(cost);
        if calls {
            self.instructions = self.instructions.max(self.stretch - RETURNED);
            if let Some(open) = self.open.last_mut() {
                open.calls = true;
            }
        }
        self.leave(operator);
        match operator {
            Operator::Loop { .. }
            | Operator::Block { .. }
            | Operator::If { .. }
            | Operator::Try { .. }
            | Operator::TryTable { .. } => {
                let (all, instructions) = (self.all, self.instructions);
                let is_left = matches!(operator, Operator::If { .. });
                self.open.push(Open { all, instructions, calls: false, is_left });
            }
            Operator::Else => self.instructions = self.past_block(),
            Operator::End => self.end(),
            _ => {}
        }
    }

    /// Marks the blocks to whose ends an instruction may go.
    fn leave(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Br { relative_depth }
            | Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. }
            | Operator::BrOnCastDescEq { relative_depth, .. }
            | Operator::BrOnCastDescEqFail { relative_depth, .. } => self.mark(*relative_depth),
            Operator::BrTable { targets } => {
                self.mark(targets.default());
                for target in targets.targets() {
                    // It was read before, when the module was validated.
                    self.mark(target.unwrap_or_default());
                }
            }
            Operator::TryTable { try_table } => {
                for catch in &try_table.catches {
                    match catch {
                        Catch::One { label, .. }
                        | Catch::OneRef { label, .. }
                        | Catch::All { label }
                        | Catch::AllRef { label } => self.mark(*label),
                    }
                }
            }
            _ => {}
        }
    }

    fn mark(&mut self, depth: u32) {
        let place = self.open.len().checked_sub(1 + depth as usize);
        // None is the function itself, after whose end there is nothing.
        if let Some(open) = place.and_then(|place| self.open.get_mut(place)) {
            open.is_left = true;
        }
    }

    fn end(&mut self) {
        let past_block = self.past_block();
        let Some(ended) = self.open.pop() else { return };
        if ended.is_left {
            self.instructions = if ended.calls { past_block.max(self.stretch) } else { past_block };
        }
        if ended.calls
            && let Some(open) = self.open.last_mut()
        {
            open.calls = true;
        }
    }

    /// As many as may have run on a way past all places of the block that is open.
    fn past_block(&self) -> i32 {
        let passed = |open: &Open| open.instructions.saturating_add(self.all - open.all);
        self.open.last().map_or(self.instructions, passed)
    }
}

/// Takes from what is left of the budget, and renews it when that is used up.
fn count(function: &mut Function, weight: i32, (left, renewing): (u32, u32)) {
    let mut code = function.instructions();
    code.global_get(left).i32_const(weight).i32_sub().global_set(left);
    code.global_get(left).i32_const(0).i32_lt_s();
    code.if_(BlockType::Empty).call(renewing).end();
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
        body.call(self.has_ticked()).if_(BlockType::Empty).call(self.tick()).end().end();
        code.function(&renewing);
        let mut piece = Function::new([]);
        count(&mut piece, PIECE, (self.globals, self.renewing()));
        piece.instructions().end();
        code.function(&piece);
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        // Read again, now that it is known which functions count nothing.
        let Body { parts, .. } = self.body(&body)?;
        let is_small_leaf = self.bodies[self.written].is_small_leaf();
        self.written += 1;
        let mut parts = parts.into_iter();
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let first = parts.next().unwrap_or_default();
        if !is_small_leaf {
            self.count(&mut function, first.instructions.min(self.counted_max))?;
        }
        let mut since = Since::new(self.stretch);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            since.pass(&operator, self.cost(&operator), self.calls(&operator));
            match self.before(&operator) {
                Some(Before::Renew) => drop(function.instructions().call(self.renewing())),
                Some(Before::Count) => drop(function.instructions().call(self.piece())),
                None => {}
            }
            let is_loop = matches!(operator, Operator::Loop { .. });
            function.instruction(&self.instruction(operator)?);
            if is_loop {
                let part = parts.next().unwrap_or_default();
                if !self.is_counted_by_callee(part) {
                    self.count(&mut function, part.instructions.min(self.counted_max))?;
                }
            }
            if since.is_due() && !operators.eof() {
                self.count(&mut function, self.counted_max)?;
                since.instructions = 0;
            }
        }
        code.function(&function);
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
