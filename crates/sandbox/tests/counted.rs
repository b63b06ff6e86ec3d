//! What is counted does what it did before, and nothing goes on without its host being called.

#[path = "../src/counted.rs"]
mod counted;

use counted::{HOST_MODULE, LOOK, Origin, Refusal, TAKE_TICK};
use wasmtime::{Config, Engine, Error, Instance, Linker, Module, Store, Val, WasmBacktrace};

/// How often the clock was looked at, and after how many looks a run is ended.
struct Looks {
    taken: u64,
    most: u64,
    /// How many had been taken when the guest called its host.
    at_host: u64,
}

/// A run was ended by its host.
#[derive(Debug, thiserror::Error)]
#[error("ended")]
struct Ended;

fn bytes(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).expect("is WAT")
}

fn counted(module: &[u8]) -> Result<Vec<u8>, counted::Error> {
    counted::counted(module, Origin::Guest)
}

fn engine() -> Engine {
    let mut config = Config::new();
    config.wasm_tail_call(true).wasm_function_references(true).wasm_exceptions(true);
    Engine::new(&config).expect("settings that exist")
}

/// An instance of a counted module whose clock ticks whenever somebody looks.
fn instance(engine: &Engine, module: &[u8], most: u64) -> (Store<Looks>, Result<Instance, Error>) {
    let module = Module::new(engine, module).expect("is valid");
    let mut store = Store::new(engine, Looks { taken: 0, most, at_host: 0 });
    let mut linker = Linker::new(engine);
    let look = |mut caller: wasmtime::Caller<'_, Looks>| {
        caller.data_mut().taken += 1;
        1
    };
    linker.func_wrap(HOST_MODULE, TAKE_TICK, look).expect("is new");
    let tick = |caller: wasmtime::Caller<'_, Looks>| match caller.data() {
        Looks { taken, most, .. } if taken >= most => Err(Error::new(Ended)),
        _ => Ok(()),
    };
    linker.func_wrap(HOST_MODULE, LOOK, tick).expect("is new");
    let slow = |mut caller: wasmtime::Caller<'_, Looks>| {
        caller.data_mut().at_host = caller.data().taken;
    };
    linker.func_wrap("host", "slow", slow).expect("is new");
    let instance = linker.instantiate(&mut store, &module);
    (store, instance)
}

/// Runs `run`, which must not end by itself.
fn assert_is_ended(name: &str, wat: &str) {
    let engine = engine();
    let module = counted(&bytes(wat)).expect("can be read");
    let (mut store, instance) = instance(&engine, &module, 3);
    let ended = match instance {
        Ok(instance) => {
            let run = instance.get_func(&mut store, "run").expect("is exported");
            run.call(&mut store, &[], &mut []).expect_err("does not end by itself")
        }
        Err(ended) => ended,
    };
    assert!(ended.is::<Ended>(), "{name}: {ended:#}");
}

#[test]
fn nothing_goes_on_for_ever() {
    for (name, wat) in [
        ("a loop", r#"(module (func (export "run") (loop br 0)))"#),
        (
            "a loop with a value",
            r#"(module (func (export "run")
            i32.const 1 (loop (param i32) (result i32) br 0) drop))"#,
        ),
        ("a loop in a loop", r#"(module (func (export "run") (loop (loop br 1))))"#),
        (
            "a loop that calls first",
            r#"(module
            (func $one (param i32) (result i32) local.get 0 i32.const 1 i32.add)
            (func (export "run") (loop (drop (call $one (i32.const 1))) br 0)))"#,
        ),
        (
            "a loop that calls one that loops",
            r#"(module
            (func $few (local i32) (loop
                (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (br_if 0 (i32.lt_s (i32.const 9)))))
            (func (export "run") (loop (call $few) br 0)))"#,
        ),
        (
            "a loop that may call first",
            r#"(module (func $f (call $g)) (func $g)
            (func (export "run") (loop (if (i32.const 0) (then (call $f))) br 0)))"#,
        ),
        (
            "a loop over a host call",
            r#"(module (import "host" "slow" (func $slow))
            (func (export "run") (loop (call $slow) br 0)))"#,
        ),
        (
            "tail calls",
            r#"(module
            (func $a (return_call $b)) (func $b (return_call $a))
            (func (export "run") (call $a)))"#,
        ),
        ("a tail call of itself", r#"(module (func $a (export "run") (return_call $a)))"#),
        (
            "indirect tail calls",
            r#"(module (table 1 funcref) (elem (i32.const 0) $a) (type $t (func))
            (func $a (export "run") (return_call_indirect (type $t) (i32.const 0))))"#,
        ),
        (
            "tail calls of references",
            r#"(module (type $t (func)) (elem declare func $a)
            (func $a (export "run") (return_call_ref $t (ref.func $a))))"#,
        ),
        ("a start function", r#"(module (func $start (loop br 0)) (start $start))"#),
        (
            "exceptions",
            r#"(module (tag $t) (func (export "run")
            (loop (block (try_table (catch_all 0) (throw $t))) br 0)))"#,
        ),
        (
            "a host function in a table",
            r#"(module (import "host" "slow" (func $slow))
            (table 1 funcref) (elem (i32.const 0) $slow)
            (func (export "run") (loop (call_indirect (i32.const 0)) br 0)))"#,
        ),
    ] {
        assert_is_ended(name, wat);
    }
}

#[test]
fn deep_recursion_is_counted() {
    let wat = r#"(module (func $fib (export "fib") (param i32) (result i32)
        (if (result i32) (i32.lt_s (local.get 0) (i32.const 2)) (then (local.get 0)) (else
            (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#;
    let module = counted(&bytes(wat)).expect("can be read");
    let (mut store, instance) = instance(&engine(), &module, u64::MAX);
    let instance = instance.expect("instantiates");
    let fib = instance.get_typed_func::<i32, i32>(&mut store, "fib").expect("is exported");
    assert_eq!(fib.call(&mut store, 20).expect("returns"), 6765);
    let few = store.data().taken;
    assert_eq!(fib.call(&mut store, 25).expect("returns"), 75_025);
    let many = store.data().taken - few;
    // Eleven times the work: as often looked at, for the work done.
    assert!((8..=14).contains(&(many / few.max(1))), "{few} and {many} looks");
}

#[test]
fn what_takes_long_by_itself_is_paid_for_by_itself() {
    let looks = |body: &str| {
        let wat = format!(
            r#"(module (import "host" "slow" (func $slow)) (memory 16)
                (data $data "0123456789") (table 10 funcref)
                (func (export "run") (local $left i32)
                    (local.set $left (i32.const 1000))
                    (loop {body}
                        (local.tee $left (i32.sub (local.get $left) (i32.const 1)))
                        (br_if 0))))"#
        );
        looks_at(&wat)
    };
    assert_eq!(looks(""), 0);
    let fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 64))";
    assert!((60..80).contains(&looks(fill)));
    assert_eq!(looks("(call $slow)"), 1_000);
    let init = "(memory.init $data (i32.const 0) (i32.const 0) (i32.const 4))";
    assert!(looks(init) >= 1_000);
    let table = "(table.fill 0 (i32.const 0) (ref.null func) (i32.const 5))";
    assert!((60..80).contains(&looks(table)));
}

/// As many instructions as `BUDGET` run between two looks at most, beside those of one function's text.
const BUDGET: u64 = 32 << 10;

/// Runs `run` of the module to its end, and gives how often the clock was looked at.
fn looks_at(wat: &str) -> u64 {
    let module = counted(&bytes(wat)).expect("can be read");
    let (mut store, instance) = instance(&engine(), &module, u64::MAX);
    let run = instance.expect("instantiates").get_func(&mut store, "run").expect("is exported");
    run.call(&mut store, &[], &mut []).expect("returns");
    store.data().taken
}

/// However code is laid out, whichever way it takes.
#[test]
fn work_between_two_looks_is_bounded() {
    let add = "(global.set $g (i32.add (global.get $g) (i32.const 1)))";
    let small = add.repeat(15);
    let leaves = |count| "(call $leaf)".repeat(count);
    // What runs at each turn, and how many instructions that takes.
    let cases = [
        ("leaves", leaves(5_000), 5_000 * 61),
        ("leaves in a loop", "(loop (call $leaf) (br_if 0 (call $more)))".to_owned(), 100 * 69),
        ("one long stretch", add.repeat(20_000), 80_000),
        ("many blocks", format!("(block {small})").repeat(1_000), 62_000),
        ("small loops between", format!("{}(loop)", leaves(7)).repeat(500), 213_500),
        (
            "dead code between",
            format!("{}(block (br 0) (call $leaf))", leaves(7)).repeat(500),
            213_500,
        ),
        (
            "arms between",
            format!("{}(if (i32.const 0) (then (call $leaf)))", leaves(7)).repeat(500),
            213_500,
        ),
        (
            "a loop that is left at once, around all",
            format!("(loop $all (if (call $more) (then {small} (br $all))))"),
            100 * 69,
        ),
        (
            "a long stretch behind a loop in a loop",
            format!(
                "(loop $outer (loop $inner (br_if $inner (call $more))) {}
                    (br_if $outer (call $again)))",
                add.repeat(1_000)
            ),
            10 * 4_000,
        ),
        (
            "a call at the end of a long stretch, in a loop",
            format!("(loop {} (br_if 0 (call $more)))", add.repeat(1_000)),
            100 * 4_000,
        ),
        (
            "caught",
            format!(
                "(loop (block $caught (try_table (catch_all $caught) (throw $t))) {}
                    (br_if 0 (call $more)))",
                add.repeat(100)
            ),
            100 * 400,
        ),
    ];
    for (name, body, instructions) in cases {
        let looks = looks_at(&format!(
            r#"(module (global $g (mut i32) (i32.const 0)) (global $turns (mut i32) (i32.const 0))
                (global $again (mut i32) (i32.const 0)) (tag $t)
                (func $leaf {small})
                (func $more (result i32)
                    (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
                    (i32.rem_s (global.get $turns) (i32.const 100)))
                (func $again (result i32)
                    (global.set $again (i32.add (global.get $again) (i32.const 1)))
                    (i32.rem_s (global.get $again) (i32.const 10)))
                (func $once {body})
                (func (export "run") (local $left i32)
                    (local.set $left (i32.const 300))
                    (loop (call $once)
                        (local.tee $left (i32.sub (local.get $left) (i32.const 1)))
                        (br_if 0))))"#
        ));
        let text = body.matches('(').count() as u64;
        assert!((looks + 1) * (BUDGET + text) >= 300 * instructions, "{name}: {looks} looks");
    }
}

/// Frames that have paid for what they do when they are come back to, long ago.
#[test]
fn what_runs_while_a_recursion_unwinds_is_paid_for_again() {
    const DEPTH: u64 = 1_000;
    let add = "(global.set $g (i32.add (global.get $g) (i32.const 1)))".repeat(1_000);
    let less = "(i32.sub (local.get 0) (i32.const 1))";
    let down = format!("(call $down {less})");
    for (name, body) in [
        ("behind a call", format!("{down} {add}")),
        ("in an arm", format!("(if (local.get 0) (then {down} {add}))")),
        ("out of a loop", format!("(loop $turn {down} (br_if $turn (i32.const 0))) {add}")),
        ("by a table", format!("(call_indirect (param i32) {less} (i32.const 0)) {add}")),
        (
            "where it is caught",
            format!(
                "(block $caught (try_table (catch_all $caught) {down} unreachable)) {add} (throw $t)"
            ),
        ),
    ] {
        // The bottom asks its host, so that it is known how often was looked on the way up.
        let wat = format!(
            r#"(module (import "host" "slow" (func $slow)) (global $g (mut i32) (i32.const 0)) (tag $t)
                (table 1 funcref) (elem (i32.const 0) $down)
                (func $down (param i32)
                    (if (i32.eqz (local.get 0))
                        (then (global.set $g (i32.const 0)) (call $slow) {}))
                    {body})
                (func (export "run")
                    (block $caught (try_table (catch_all $caught) (call $down (i32.const {DEPTH}))))))"#,
            if name == "where it is caught" { "(throw $t)" } else { "return" },
        );
        let module = counted(&bytes(&wat)).expect("can be read");
        let (mut store, instance) = instance(&engine(), &module, u64::MAX);
        let run = instance.expect("instantiates").get_func(&mut store, "run").expect("is exported");
        run.call(&mut store, &[], &mut []).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let up = store.data().taken - store.data().at_host;
        let text = body.matches('(').count() as u64;
        assert!((up + 1) * (BUDGET + text) >= DEPTH * 4_000, "{name}: {up} looks on the way up");
    }
}

#[test]
fn an_interpreters_loop_goes_on_for_some_turns_between_two_looks() {
    // A body of which each turn passes nearly all by.
    let arms = "(if (i32.eq (local.get 0) (i32.const -1)) (then (call $never)))".repeat(1_000);
    let looks = looks_at(&format!(
        r#"(module (func $never unreachable)
            (func (export "run") (local i32) (loop
                (block $passed (br_if $passed (i32.const 1)) {arms})
                (local.tee 0 (i32.add (local.get 0) (i32.const 1)))
                (br_if 0 (i32.lt_s (i32.const 100000))))))"#
    ));
    assert!((10_000..30_000).contains(&looks), "{looks}");
}

/// Everything that speaks of functions and globals by number.
const ALL: &str = r#"(module $all
    (import "host" "slow" (func $slow))
    (type $binary (func (param i32 i32) (result i32)))
    (rec (type (func (result i64))) (type (func (result f32))))
    (table $table 4 funcref)
    (memory (export "memory") 1)
    (global $base (mut i32) (i32.const 40))
    (global $self funcref (ref.func $sum))
    (export "sum" (func $sum)) (export "base" (global $base))
    (start $begin)
    (elem (i32.const 1) $sum $product) (elem $passive func $product $slow) (elem declare func $product)
    (func $begin (global.set $base (i32.add (global.get $base) (i32.const 2))))
    (func $sum (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func $product (type $binary) (i32.mul (local.get 0) (local.get 1)))
    (func (export "run") (param i32) (result i32)
        (table.init $passive (i32.const 0) (i32.const 0) (i32.const 1))
        (call $slow)
        (i32.add
            (call_indirect (type $binary) (global.get $base) (local.get 0) (i32.const 0))
            (i32.add
                (call_indirect (type $binary) (global.get $base) (local.get 0) (i32.const 1))
                (call_ref $binary (local.get 0) (i32.const 3) (ref.func $product)))))
    (func $broken (export "broken") unreachable)
    (data (i32.const 0) "data"))"#;

#[test]
fn numbers_of_functions_and_globals_stay_those_that_were_meant() {
    let engine = engine();
    let module = counted(&bytes(ALL)).expect("can be read");
    let (mut store, instance) = instance(&engine, &module, u64::MAX);
    let instance = instance.expect("instantiates");
    let base = instance.get_global(&mut store, "base").expect("is exported");
    assert_eq!(base.get(&mut store).i32(), Some(42));
    let mut results = [Val::I32(0)];
    let run = instance.get_func(&mut store, "run").expect("is exported");
    run.call(&mut store, &[Val::I32(5)], &mut results).expect("returns");
    assert_eq!(results[0].i32(), Some(42 * 5 + 42 + 5 + 15));
    let sum = instance.get_typed_func::<(i32, i32), i32>(&mut store, "sum").expect("is exported");
    assert_eq!(sum.call(&mut store, (1, 2)).expect("returns"), 3);
    let memory = instance.get_memory(&mut store, "memory").expect("is exported");
    assert_eq!(&memory.data(&store)[..4], b"data");
}

#[test]
fn traces_show_the_names_that_were_given() {
    let engine = engine();
    let module = counted(&bytes(ALL)).expect("can be read");
    let (mut store, instance) = instance(&engine, &module, u64::MAX);
    let broken = instance.expect("instantiates").get_func(&mut store, "broken");
    let error = broken.expect("is exported").call(&mut store, &[], &mut []).expect_err("traps");
    let trace = error.downcast_ref::<WasmBacktrace>().expect("has a trace");
    let names: Vec<_> = trace.frames().iter().map(|frame| frame.func_name()).collect();
    assert_eq!(names, [Some("broken")]);
}

#[test]
fn modules_without_code_stay_as_they_are() {
    for wat in ["(module)", r#"(module (memory (export "memory") 1))"#] {
        assert_eq!(counted(&bytes(wat)).expect("can be read"), bytes(wat));
    }
}

#[test]
fn what_is_no_module_is_an_error() {
    assert!(counted(b"hello").is_err());
}

#[test]
fn nobody_else_calls_what_is_for_counting() {
    let wat = format!(r#"(module (import "{HOST_MODULE}" "{TAKE_TICK}" (func (result i32))))"#);
    assert!(matches!(counted(&bytes(&wat)), Err(counted::Error::UserError(Refusal::NamesHost))));
}

#[test]
fn names_of_what_is_not_there_are_no_hindrance() {
    let mut module = bytes("(module (func))");
    let mut names = wasm_encoder::NameMap::new();
    names.append(u32::MAX, "nobody");
    let mut section = wasm_encoder::NameSection::new();
    section.functions(&names);
    wasm_encoder::Section::append_to(&section, &mut module);
    let counted = counted(&module).expect("can be read");
    Module::new(&engine(), counted).expect("is valid");
}

#[test]
fn exceptions_that_are_waited_for_are_bounded() {
    let catches = |count: usize| {
        let catches = "(catch $t 0)".repeat(count);
        let wat = format!("(module (tag $t) (func (block (try_table {catches} nop))))");
        counted(&bytes(&wat))
    };
    assert!(catches(64).is_ok());
    let too_many =
        |counted| matches!(counted, Err(counted::Error::UserError(Refusal::TooManyCatches)));
    assert!(too_many(catches(65)));
    let nested = format!("{}nop{}", "(block (try_table (catch_all 0) ".repeat(65), "))".repeat(65));
    assert!(too_many(counted(&bytes(&format!("(module (func {nested}))")))));
}

#[test]
fn an_interpreter_of_ours_is_looked_at_less_often_but_is() {
    let add = "(global.set $g (i32.add (global.get $g) (i32.const 1)))".repeat(50);
    let wat = format!(
        r#"(module (global $g (mut i32) (i32.const 0))
            (func (export "run") (loop {add} (br_if 0 (i32.lt_s (global.get $g) (i32.const 500000))))))"#
    );
    let looks = |origin| {
        let module = counted::counted(&bytes(&wat), origin).expect("can be read");
        let (mut store, instance) = instance(&engine(), &module, u64::MAX);
        let run = instance.expect("instantiates").get_func(&mut store, "run");
        run.expect("is exported").call(&mut store, &[], &mut []).expect("returns");
        store.data().taken
    };
    let (guest, ours) = (looks(Origin::Guest), looks(Origin::Ours));
    assert!(ours > 1 && ours * 5 < guest, "{ours} and {guest} looks");
}

/// As many locals as stand there may be moved on an edge that no instruction is for.
#[test]
fn what_is_never_run_counts_for_something() {
    let turns = |never: usize| {
        looks_at(&format!(
            r#"(module (func (export "run") (local $left i32)
                (local.set $left (i32.const 100000))
                (loop
                    (if (i32.lt_s (local.get $left) (i32.const 0)) (then (loop {})))
                    (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#,
            "nop ".repeat(never)
        ))
    };
    // A look at some forty turns.
    assert!((1_000..10_000).contains(&turns(100_000)), "{}", turns(100_000));
    assert!(turns(0) < 100, "{}", turns(0));
}

#[test]
fn blocks_take_no_places() {
    let body = format!("{}nop{}", "(block ".repeat(2_000), ")".repeat(2_000));
    let counted = counted(&bytes(&format!("(module (func {body}))"))).expect("can be read");
    assert!(counted.len() < 10_000, "{}", counted.len());
}

#[test]
fn more_places_than_can_be_compiled_are_refused() {
    let wat = format!("(module (func {}))", "loop end ".repeat(2 << 20));
    assert!(matches!(counted(&bytes(&wat)), Err(counted::Error::UserError(Refusal::TooMany))));
}

#[test]
fn every_memory_can_be_found() {
    let exports = |wat: &str| {
        let module = Module::new(&engine(), counted(&bytes(wat)).expect("can be read"));
        let module = module.expect("is valid");
        module.exports().map(|export| export.name().to_owned()).collect::<Vec<_>>()
    };
    let some = exports(
        r#"(module (memory 1) (memory $own 1) (memory 1)
             (export "f" (func 0)) (export "own" (memory $own)) (func))"#,
    );
    let all = ["f", "own", "runabout:memory/0", "runabout:memory/1", "runabout:memory/2"];
    assert_eq!(some, all);
    assert_eq!(exports(r#"(module (func (export "f")))"#), ["f"]);
    for name in ["runabout:memory/7", "runabout:global/0"] {
        let taken = counted(&bytes(&format!(r#"(module (func (export "{name}")))"#)));
        assert!(matches!(taken, Err(counted::Error::UserError(Refusal::TakesName))), "{name}");
    }
}
