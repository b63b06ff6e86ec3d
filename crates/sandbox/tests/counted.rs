//! What is counted does what it did before, and nothing goes on without its host being called.

#[path = "../src/counted.rs"]
mod counted;

use counted::{HAS_TICKED, HOST_MODULE, Origin, TICK};
use wasmtime::{Config, Engine, Error, Instance, Linker, Module, Store, Val, WasmBacktrace};

/// How often the clock was looked at, and after how many looks a run is ended.
struct Looks {
    taken: u64,
    most: u64,
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
    let mut store = Store::new(engine, Looks { taken: 0, most });
    let mut linker = Linker::new(engine);
    let look = |mut caller: wasmtime::Caller<'_, Looks>| {
        caller.data_mut().taken += 1;
        1
    };
    linker.func_wrap(HOST_MODULE, HAS_TICKED, look).expect("is new");
    let tick = |caller: wasmtime::Caller<'_, Looks>| match caller.data() {
        Looks { taken, most } if taken >= most => Err(Error::new(Ended)),
        _ => Ok(()),
    };
    linker.func_wrap(HOST_MODULE, TICK, tick).expect("is new");
    linker.func_wrap("host", "slow", || {}).expect("is new");
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
fn what_takes_long_by_itself_is_counted_by_itself() {
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
        let module = counted(&bytes(&wat)).expect("can be read");
        let (mut store, instance) = instance(&engine(), &module, u64::MAX);
        let run = instance.expect("instantiates").get_func(&mut store, "run");
        run.expect("is exported").call(&mut store, &[], &mut []).expect("returns");
        store.data().taken
    };
    assert_eq!(looks(""), 0);
    let fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 64))";
    assert!((60..80).contains(&looks(fill)));
    assert_eq!(looks("(call $slow)"), 1_000);
    let init = "(memory.init $data (i32.const 0) (i32.const 0) (i32.const 4))";
    assert!(looks(init) >= 999);
    let table = "(table.fill 0 (i32.const 0) (ref.null func) (i32.const 5))";
    assert!((60..80).contains(&looks(table)));
}

/// However code is laid out, a look is not further away than a few budgets of instructions.
#[test]
fn work_between_two_looks_is_bounded() {
    const BUDGET: u64 = 16 << 10;
    let add = "(global.set $g (i32.add (global.get $g) (i32.const 1)))";
    let small = add.repeat(15);
    let cases = [
        // Functions that are not counted themselves, called by code without a branch.
        ("leaves", "(call $leaf)".repeat(5_000), 5_000 * 61),
        ("leaves in a loop", "(loop (call $leaf) (br_if 0 (call $more)))".to_owned(), 100 * 64),
        ("one long stretch", add.repeat(20_000), 80_000),
        ("many blocks", format!("(block {small})").repeat(1_000), 62_000),
        // What counts little, or is never passed, stands where a stretch would end.
        ("small loops between", format!("{}(loop)", "(call $leaf)".repeat(7)).repeat(500), 213_500),
        (
            "dead code between",
            format!("{}(block (br 0) (call $leaf))", "(call $leaf)".repeat(7)).repeat(500),
            213_500,
        ),
        (
            "arms between",
            format!("{}(if (i32.const 0) (then (call $leaf)))", "(call $leaf)".repeat(7))
                .repeat(500),
            213_500,
        ),
        (
            "other arms between",
            format!(
                "{}(if (i32.const 0) (then (call $leaf) (call $leaf)) (else (call $leaf)))",
                "(call $leaf)".repeat(6)
            )
            .repeat(500),
            213_500,
        ),
        (
            "a loop that calls first",
            format!("(loop (call $light) {small} (br_if 0 (call $more)))"),
            100 * 70,
        ),
    ];
    for (name, body, instructions) in cases {
        let wat = format!(
            r#"(module (global $g (mut i32) (i32.const 0)) (global $turns (mut i32) (i32.const 0))
                (func $leaf {small})
                (func $none) (func $light (call $none))
                (func $more (result i32)
                    (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
                    (i32.rem_s (global.get $turns) (i32.const 100)))
                (func $once {body})
                (func (export "run") (local $left i32)
                    (local.set $left (i32.const 300))
                    (loop (call $once)
                        (local.tee $left (i32.sub (local.get $left) (i32.const 1)))
                        (br_if 0))))"#
        );
        let module = counted(&bytes(&wat)).expect("can be read");
        let (mut store, instance) = instance(&engine(), &module, u64::MAX);
        let run = instance.expect("instantiates").get_func(&mut store, "run");
        run.expect("is exported").call(&mut store, &[], &mut []).expect("returns");
        let (looks, all) = (store.data().taken, 300 * instructions);
        assert!(looks * BUDGET * 9 > all, "{name}: {looks} looks at {all} instructions");
    }
}

#[test]
fn what_runs_while_a_recursion_unwinds_is_counted() {
    const DEPTH: u64 = 1_000;
    let add = "(global.set $g (i32.add (global.get $g) (i32.const 1)))".repeat(100);
    let wat = format!(
        r#"(module (import "host" "slow" (func $slow)) (global $g (mut i32) (i32.const 0))
            (func $down (param i32)
                (if (local.get 0)
                    (then (call $down (i32.sub (local.get 0) (i32.const 1))))
                    (else (call $slow)))
                {add})
            (func (export "run") (call $down (i32.const {DEPTH}))))"#
    );
    let module = counted(&bytes(&wat)).expect("can be read");
    let (mut store, instance) = instance(&engine(), &module, u64::MAX);
    let run = instance.expect("instantiates").get_func(&mut store, "run").expect("is exported");
    run.call(&mut store, &[], &mut []).expect("returns");
    // On the way down a frame counts 128 at most, and one look is for the call of the host.
    let down = 1 + DEPTH * 128 / (16 << 10) + 1;
    let looks = store.data().taken;
    assert!(looks >= down + DEPTH * 400 / (16 << 10) / 5, "{looks} looks, {down} on the way down");
}

#[test]
fn an_interpreters_loop_is_not_looked_at_at_every_turn() {
    // A body of which each turn passes nearly all by.
    let arms = "(if (i32.eq (local.get 0) (i32.const -1)) (then (call $never)))".repeat(5_000);
    let wat = format!(
        r#"(module (func $never unreachable)
            (func (export "run") (local i32) (loop
                (block $passed (br_if $passed (i32.const 1)) {arms})
                (local.tee 0 (i32.add (local.get 0) (i32.const 1)))
                (br_if 0 (i32.lt_s (i32.const 100000))))))"#
    );
    let module = counted(&bytes(&wat)).expect("can be read");
    let (mut store, instance) = instance(&engine(), &module, u64::MAX);
    let run = instance.expect("instantiates").get_func(&mut store, "run").expect("is exported");
    run.call(&mut store, &[], &mut []).expect("returns");
    assert!((300..2_000).contains(&store.data().taken), "{}", store.data().taken);
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
    let wat = format!(r#"(module (import "{HOST_MODULE}" "{HAS_TICKED}" (func (result i32))))"#);
    assert!(counted(&bytes(&wat)).is_err());
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
    assert!(catches(65).is_err());
    let nested = format!("{}nop{}", "(block (try_table (catch_all 0) ".repeat(65), "))".repeat(65));
    assert!(counted(&bytes(&format!("(module (func {nested}))"))).is_err());
}

#[test]
fn an_interpreter_of_ours_is_looked_at_less_often_but_is() {
    let add = "(global.set $g (i32.add (global.get $g) (i32.const 1)))".repeat(50);
    let wat = format!(
        r#"(module (global $g (mut i32) (i32.const 0))
            (func (export "run") (loop {add} (br_if 0 (i32.lt_s (global.get $g) (i32.const 100000))))))"#
    );
    let looks = |origin| {
        let module = counted::counted(&bytes(&wat), origin).expect("can be read");
        let (mut store, instance) = instance(&engine(), &module, u64::MAX);
        let run = instance.expect("instantiates").get_func(&mut store, "run");
        run.expect("is exported").call(&mut store, &[], &mut []).expect("returns");
        store.data().taken
    };
    let (guest, ours) = (looks(Origin::Guest), looks(Origin::Ours));
    assert!(ours > 1 && ours * 3 < guest, "{ours} and {guest} looks");
}

#[test]
fn blocks_that_nothing_leaves_early_take_no_places() {
    let nested = |inner: &str| {
        let body = format!("{}{inner}{}", "(block ".repeat(2_000), ")".repeat(2_000));
        counted(&bytes(&format!("(module (func {body}))"))).expect("can be read").len()
    };
    assert!(nested("nop") < 10_000, "{}", nested("nop"));
    // One that is left counts at its end, on the way past the others.
    let every =
        (0..2_000).map(|depth| format!("(br_if {depth} (i32.const 0))")).collect::<String>();
    assert!(nested(&every) > 40_000, "{}", nested(&every));
}

#[test]
fn more_places_than_can_be_compiled_are_refused() {
    let wat = format!("(module (func {}))", "loop end ".repeat(1 << 20));
    assert!(counted(&bytes(&wat)).is_err());
}
