;; Touches every page of as much memory as a run may ask for.
(module
  (memory 16000)
  (func $fill
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576000)))
  (func (export "f") (result i32)
    (call $fill)
    (i32.load8_u (i32.const 1048575999)))
  (func (export "fill_for_ever") (loop (call $fill) (br 0)))
  (func (export "copy_for_ever")
    (loop
      (memory.copy (i32.const 1) (i32.const 0) (i32.const 1048575999))
      (memory.copy (i32.const 0) (i32.const 1) (i32.const 1048575999))
      (br 0))))
