;; Never comes to an end, in every way that WebAssembly has for it.
(module
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (elem (i32.const 0) $indirect)
  (func (export "loop") (loop (br 0)))
  (func (export "with_results") (result i64) (loop (result i64) (br 0)))
  (func $tail (export "tail_call") (return_call $tail))
  (func $indirect (export "tail_call_indirect") (return_call_indirect (i32.const 0)))
  (func $two (export "recursion_in_a_loop") (param $depth i32)
    (loop
      (if (i32.lt_u (local.get $depth) (i32.const 1000))
        (then (call $two (i32.add (local.get $depth) (i32.const 1)))))
      (br 0)))
  (func (export "fill") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0)))
  (func (export "grow_by_nothing") (loop (drop (memory.grow (i32.const 0))) (br 0))))
