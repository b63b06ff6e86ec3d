;; Waiting needs shared memory; without, it must trap and not wait.
(module
  (memory 1)
  (func (export "f") (result i32)
    (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
