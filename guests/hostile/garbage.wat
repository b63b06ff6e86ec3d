;; Wants memory that is no linear memory: the collector's.
(module
  (type $bytes (array (mut i8)))
  (type $node (struct (field (ref null any)) (field (ref null any))))
  (func (export "at_once") (result i32)
    (array.len (array.new $bytes (i32.const 1) (i32.const 1000000000))))
  (func (export "kept") (local $last (ref null any))
    (loop $again
      (local.set $last (struct.new $node (local.get $last) (local.get $last)))
      (br $again)))
  (func (export "dropped")
    (loop $again
      (drop (array.new $bytes (i32.const 1) (i32.const 100000)))
      (br $again))))
