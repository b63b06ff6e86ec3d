;; What JSON can neither give nor take.
(module
  (func (export "wants") (param externref))
  (func (export "gives") (result funcref) (ref.null func))
  (func (export "vector") (result v128) (v128.const i64x2 1 2)))
