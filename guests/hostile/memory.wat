;; Wants all memory there is, and touches what it gets.
(module
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (func $touch_all
    (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536))))
  ;; Takes what it is given and goes on.
  (func (export "grow_until_refused") (result i32)
    (loop $again
      (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    (call $touch_all)
    (memory.size))
  ;; Cannot go on without.
  (func (export "grow_or_trap")
    (loop $again
      (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
      (br $again)))
  (func (export "grow_at_once") (result i32) (memory.grow (i32.const 65535)))
  (func (export "touch_for_ever")
    (drop (memory.grow (i32.const 2040)))
    (loop $again (call $touch_all) (br $again)))
  (func (export "copy_for_ever")
    (drop (memory.grow (i32.const 2040)))
    (loop $again
      (memory.copy (i32.const 1) (i32.const 0) (i32.const 133000000))
      (br $again)))
  (func (export "grow_the_table") (result i32)
    (loop $again
      (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
    (table.size $table))
  (func (export "grow_the_table_at_once") (result i32)
    (table.grow $table (ref.null func) (i32.const -1)))
  (func (export "fill_the_table_for_ever")
    (drop (table.grow $table (ref.null func) (i32.const 90000)))
    (loop $again
      (table.fill $table (i32.const 0) (ref.null func) (table.size $table))
      (br $again))))
