;; Would wait for a word that nobody will change.
(module
  (memory 1 1 shared)
  (func (export "f") (result i32)
    (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
