(module (memory i64 0x1000000000) (func (export "f")))
