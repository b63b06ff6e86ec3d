;; Exports whose names are a trap for who keeps them in an object, a path or a text.
(module
  (func (export "__proto__") (result i32) (i32.const 1))
  (func (export "") (result i32) (i32.const 2))
  (func (export "../../etc/passwd") (result i32) (i32.const 3))
  (func (export "a\00b") (result i32) (i32.const 4))
  (func (export "&version=9#") (result i32) (i32.const 5)))
