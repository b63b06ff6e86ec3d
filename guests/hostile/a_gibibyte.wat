;; Touches every page of as much memory as a run may ask for.
(module
  (memory 16000)
  (func (export "f") (result i32)
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576000))
    (i32.load8_u (i32.const 1048575999))))
