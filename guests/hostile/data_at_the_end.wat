;; What lies between would be an image of 4 GiB.
(module (memory 65536) (data (i32.const 0) "a") (data (i32.const 0xfffffff0) "b") (func (export "f")))
