//! What was replaced does what it did before, and can be interrupted.

#[path = "../src/counted.rs"]
#[expect(dead_code, reason = "nothing here is ours")]
mod counted;
#[path = "../src/interruptible.rs"]
mod interruptible;

use counted::{HOST_MODULE, LOOK, Origin, TAKE_TICK, counted};
use interruptible::{PIECE_BYTES, interruptible};
use proptest::prelude::*;
use wasmtime::{Caller, Engine, Instance, Linker, Memory, Module, Store, Trap, WasmBacktrace};

const PIECE: u32 = PIECE_BYTES;
const PAGE: u32 = 64 << 10;

/// Two memories, of different sizes that are no multiples of a piece, and all that works on them.
const ALL: &str = r#"(module $all
    (memory (export "a") 25)
    (memory (export "b") 18)
    (func (export "fill a") (param i32 i32 i32)
        (memory.fill 0 (local.get 0) (local.get 1) (local.get 2)))
    (func $named (export "fill b") (param i32 i32 i32)
        (memory.fill 1 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy a a") (param i32 i32 i32)
        (memory.copy 0 0 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy a b") (param i32 i32 i32)
        (memory.copy 0 1 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy b a") (param i32 i32 i32)
        (memory.copy 1 0 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy b b") (param i32 i32 i32)
        (memory.copy 1 1 (local.get 0) (local.get 1) (local.get 2))))"#;

const EXPORTS: [&str; 6] = ["fill a", "fill b", "copy a a", "copy a b", "copy b a", "copy b b"];

fn bytes(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).expect("is WAT")
}

fn rewritten(wat: &str) -> Vec<u8> {
    interruptible(&bytes(wat)).expect("can be read").expect("has something to replace")
}

/// An instance of a module, with memories that hold no two equal stretches.
struct Guest {
    store: Store<u32>,
    instance: Instance,
    memories: Vec<Memory>,
}

impl Guest {
    fn new(engine: &Engine, module: &[u8]) -> Self {
        let module = Module::new(engine, module).expect("is valid");
        let mut store = Store::new(engine, 0);
        let instance = Instance::new(&mut store, &module, &[]).expect("instantiates");
        let names = ["a", "b"].into_iter();
        let memories: Vec<_> =
            names.filter_map(|name| instance.get_memory(&mut store, name)).collect();
        for (salt, memory) in memories.iter().enumerate() {
            let words = memory.data_mut(&mut store).chunks_exact_mut(4).enumerate();
            for (index, word) in words {
                let number = (index as u32 + salt as u32).wrapping_mul(0x9e37_79b9);
                word.copy_from_slice(&number.to_le_bytes());
            }
        }
        Self { store, instance, memories }
    }

    fn call(&mut self, name: &str, arguments: (u32, u32, u32)) -> Option<Trap> {
        let function = self
            .instance
            .get_typed_func::<(u32, u32, u32), ()>(&mut self.store, name)
            .expect("is exported");
        let error = function.call(&mut self.store, arguments).err()?;
        Some(*error.downcast_ref::<Trap>().expect("is a trap"))
    }

    fn contents(&self) -> Vec<&[u8]> {
        self.memories.iter().map(|memory| memory.data(&self.store)).collect()
    }
}

/// Places and lengths: anywhere, around the ends of pieces and memories, and near the end of what
/// 32 bits can tell.
fn number() -> impl Strategy<Value = u32> {
    let edge = (0..8_u32, -3..=3_i32);
    prop_oneof![
        4 => 0..30 * PAGE,
        4 => edge.prop_map(|(pieces, off)| (pieces * PIECE).wrapping_add_signed(off)),
        2 => (15..27_u32, -3..=3_i32)
            .prop_map(|(pages, off)| (pages * PAGE).wrapping_add_signed(off)),
        1 => (0..=3 * PIECE).prop_map(|back| u32::MAX - back),
    ]
}

fn calls() -> impl Strategy<Value = Vec<(&'static str, (u32, u32, u32))>> {
    let call = (prop::sample::select(&EXPORTS[..]), (number(), number(), number()));
    prop::collection::vec(call, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_traps_are_those_of_the_original(calls in calls()) {
        let engine = Engine::default();
        let mut original = Guest::new(&engine, &bytes(ALL));
        let mut guest = Guest::new(&engine, &rewritten(ALL));
        for (name, arguments) in calls {
            prop_assert_eq!(original.call(name, arguments), guest.call(name, arguments));
            // Compared as a whole: to print megabytes helps nobody.
            prop_assert!(original.contents() == guest.contents(), "{name} {arguments:?}");
        }
    }
}

#[test]
fn overlapping_copies_move_whole_pieces_unharmed() {
    let engine = Engine::default();
    let length = 4 * PIECE + 17;
    for distance in [1, 100, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE] {
        for arguments in [(0, distance, length), (distance, 0, length)] {
            let mut original = Guest::new(&engine, &bytes(ALL));
            let mut guest = Guest::new(&engine, &rewritten(ALL));
            assert_eq!(original.call("copy a a", arguments), None);
            assert_eq!(guest.call("copy a a", arguments), None);
            assert!(original.contents() == guest.contents(), "{arguments:?}");
        }
    }
}

#[test]
fn nothing_is_written_before_a_trap() {
    let engine = Engine::default();
    let mut guest = Guest::new(&engine, &rewritten(ALL));
    let before: Vec<Vec<u8>> = guest.contents().into_iter().map(<[u8]>::to_vec).collect();
    for name in EXPORTS {
        let trap = guest.call(name, (PIECE, PIECE, u32::MAX - 2 * PIECE));
        assert_eq!(trap, Some(Trap::MemoryOutOfBounds), "{name}");
    }
    assert!(guest.contents() == before);
}

#[test]
fn the_largest_memory_has_an_end_too() {
    let wat = r#"(module (memory (export "a") 65536)
        (func (export "fill") (param i32 i32 i32)
            (memory.fill (local.get 0) (local.get 1) (local.get 2))))"#;
    let engine = Engine::default();
    let module = Module::new(&engine, rewritten(wat)).expect("is valid");
    let mut store = Store::new(&engine, 0);
    let instance = Instance::new(&mut store, &module, &[]).expect("instantiates");
    let mut guest = Guest { store, instance, memories: Vec::new() };
    let start = u32::MAX - 2 * PIECE + 1;
    assert_eq!(guest.call("fill", (start, 7, 2 * PIECE)), None);
    assert_eq!(guest.call("fill", (start, 7, 2 * PIECE + 1)), Some(Trap::MemoryOutOfBounds));
}

#[test]
fn pieces_are_counted() {
    let engine = Engine::default();
    let looks = |module: &[u8], name: &str, arguments: (u32, u32, u32)| {
        let module = Module::new(&engine, counted(module, Origin::Guest).expect("can be read"))
            .expect("is valid");
        let mut store = Store::new(&engine, 0_u32);
        let mut linker = Linker::new(&engine);
        let look = |mut caller: Caller<'_, u32>| {
            *caller.data_mut() += 1;
            0
        };
        linker.func_wrap(HOST_MODULE, TAKE_TICK, look).expect("is new");
        linker.func_wrap(HOST_MODULE, LOOK, || {}).expect("is new");
        let instance = linker.instantiate(&mut store, &module).expect("instantiates");
        let function = instance.get_typed_func::<(u32, u32, u32), ()>(&mut store, name);
        let function = function.expect("is exported");
        for _ in 0..100 {
            function.call(&mut store, arguments).expect("returns");
        }
        *store.data()
    };
    let (original, guest) = (bytes(ALL), rewritten(ALL));
    let cases = [
        ("fill a", (0, 1, 6 * PIECE)),
        ("copy a a", (1, 0, 6 * PIECE)),
        ("copy a a", (0, 1, 6 * PIECE)),
        ("copy a b", (0, 0, 4 * PIECE)),
    ];
    for (name, arguments) in cases {
        // One look at sixteen pieces.
        let pieces = 100 * arguments.2 / PIECE;
        assert!(looks(&original, name, arguments) < 10, "{name}");
        assert!(looks(&guest, name, arguments) >= pieces / 16 - 1, "{name}");
    }
}

#[test]
fn modules_without_large_ones_stay_as_they_are() {
    let small = r#"(module (memory 1) (func (param i32)
        (memory.fill (local.get 0) (i32.const 0) (i32.const 64))))"#;
    for wat in ["(module)", "(module (memory 1) (func))", small] {
        assert!(interruptible(&bytes(wat)).expect("can be read").is_none(), "{wat}");
    }
}

#[test]
fn names_in_traces_are_kept() {
    let engine = Engine::default();
    let trace = |module: &[u8]| {
        let mut guest = Guest::new(&engine, module);
        let function = guest.instance.get_func(&mut guest.store, "fill b").expect("is exported");
        let error = function
            .call(&mut guest.store, &[u32::MAX.cast_signed().into(), 0.into(), 9.into()], &mut [])
            .expect_err("lies outside");
        let trace = error.downcast_ref::<WasmBacktrace>().expect("has a trace");
        trace
            .frames()
            .iter()
            .map(|frame| {
                let name = frame.func_name().unwrap_or_default().to_owned();
                (name, frame.module().name().map(str::to_owned))
            })
            .collect::<Vec<_>>()
    };
    let (original, guest) = (trace(&bytes(ALL)), trace(&rewritten(ALL)));
    assert_eq!(guest[0].0, "memory.fill");
    assert_eq!(guest[1..], original);
}

#[test]
fn many_functions_and_other_sections_are_no_hindrance() {
    let functions = "(func (param i32) (result i32) (local.get 0))".repeat(20_000);
    let wat = format!(
        r#"(module
            (import "runabout" "log" (func (param i32 i32 i32)))
            (type (func (param f64)))
            (rec (type (func (result i64))) (type (func (result f32))))
            (table 2 funcref) (elem (i32.const 1) 20000)
            (memory (export "a") 20)
            (global (mut i32) (i32.const 3))
            (tag (param i32))
            {functions}
            (func (export "fill") (param i32 i32 i32) (result i32)
                (block (memory.fill (local.get 0) (local.get 1) (local.get 2)))
                (call_indirect (param i32) (result i32) (global.get 0) (i32.const 1)))
            (data (i32.const 0) "data") (data "passive")
            (@custom "metadata.code.branch_hint" "\00"))"#
    );
    let engine = Engine::default();
    let module = Module::new(&engine, rewritten(&wat)).expect("is valid");
    let mut store = Store::new(&engine, ());
    let log = wasmtime::Func::wrap(&mut store, |_: i32, _: i32, _: i32| {});
    let instance = Instance::new(&mut store, &module, &[log.into()]).expect("instantiates");
    let fill = instance.get_typed_func::<(u32, u32, u32), i32>(&mut store, "fill");
    let fill = fill.expect("is exported");
    assert_eq!(fill.call(&mut store, (4, 7, 3 * PIECE)).expect("returns"), 3);
    let memory = instance.get_memory(&mut store, "a").expect("is exported");
    let data = memory.data(&store);
    assert_eq!(&data[..4], b"data");
    assert!(data[4..4 + 3 * PIECE as usize].iter().all(|byte| *byte == 7));
    assert_eq!(data[4 + 3 * PIECE as usize], 0);
}

#[test]
fn what_is_no_module_is_an_error() {
    assert!(interruptible(b"hello").is_err());
}
