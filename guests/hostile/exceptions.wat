(module
  (tag $tag (param i32))
  (func (export "uncaught") (throw $tag (i32.const 7)))
  (func (export "caught_for_ever")
    (loop $again
      (block $caught (result i32)
        (try_table (catch $tag $caught) (throw $tag (i32.const 7)))
        (i32.const 0))
      (drop)
      (br $again))))
